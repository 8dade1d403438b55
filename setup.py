"""What pyproject.toml cannot say: where things lie in a wheel, and how the README reads away from its repository.

In a wheel, `proxy` and `pricing` lie inside `taximeter` (taximeter/__init__.py says why). Elsewhere than in the repository its
README has no pictures and no files to link to: they are left out, and links become words.
"""

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_INSIDE = ("pricing", "proxy")


def _placed(package: str) -> str:
    return f"taximeter.{package}" if package.partition(".")[0] in _INSIDE else package


class _BuildPy(build_py):
    def finalize_options(self) -> None:
        super().finalize_options()
        if self.editable_mode:  # for development everything stays where it is
            return
        self.packages = [_placed(package) for package in self.packages]
        self.package_dir = {f"taximeter.{package}": package for package in _INSIDE} | {"taximeter": "taximeter"}
        self.package_data = {_placed(package): patterns for package, patterns in self.package_data.items()}


def _readme() -> str:
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"<picture>.*?</picture>\n*", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?://|#)[^)]*\)", r"\1", text)


setup(cmdclass={"build_py": _BuildPy}, long_description=_readme(), long_description_content_type="text/markdown")
