"""What pyproject.toml cannot say: where things lie in a wheel, and how the README reads away from its repository.

In a wheel, `proxy` and `pricing` lie inside `taximeter` (taximeter/__init__.py says why). Elsewhere than in the repository its
README has no pictures and no files to link to: they are left out, and links become words.

With TAXIMETER_COMPILED=1 the wheel has machine code beside some of its modules (`make compiled`), for one kind of machine and
one version of Python.
"""

import os
import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

_INSIDE = ("pricing", "proxy")
# What every call passes through that does no I/O, as mypyc takes it. What gains nothing is left out: modules of data classes
# (it calls their interpreted constructors), an exchange's coroutines; and so is what tests replace in place.
_COMPILED = (
    "pricing/book", "pricing/dearest", "pricing/lines", "pricing/money", "pricing/selection", "proxy/access/keys",
    "proxy/access/routes", "proxy/budgets/counting", "proxy/budgets/memory",
    "proxy/budgets/memory_standings", "proxy/budgets/waiting",
    "proxy/ceilings/rendered", "proxy/dialects/fields", "proxy/dialects/openai",
    "proxy/dialects/outgoing", "proxy/dialects/references", "proxy/dialects/turns",
    "proxy/exchange/passed_headers", "proxy/exchange/settlement", "proxy/ids", "proxy/sessions/keyed_hash",
    "proxy/bounded_table", "proxy/money", "proxy/shares", "proxy/times", "proxy/meters/failures", "proxy/meters/openai",
    "proxy/meters/openai_usage",
    "proxy/meters/reader", "proxy/meters/reading_builder", "proxy/sessions/attribution", "proxy/sessions/chains",
    "proxy/sessions/costs", "proxy/upstream/outbox", "proxy/upstream/requests", "proxy/upstream/turns",
    "proxy/wire/lenient",
)  # fmt: skip


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


class _BuildExt(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.build_lib = str(Path(self.build_lib, "taximeter"))


def _machine_code() -> list[Extension]:
    if os.environ.get("TAXIMETER_COMPILED") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - of mypy, which nobody else has to have

    made: list[Extension] = mypycify([f"{name}.py" for name in _COMPILED], opt_level="2", debug_level="0")
    return made


def _readme() -> str:
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"<picture>.*?</picture>\n*", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?://|#)[^)]*\)", r"\1", text)


setup(
    cmdclass={"build_py": _BuildPy, "build_ext": _BuildExt}, ext_modules=_machine_code(),
    long_description=_readme(), long_description_content_type="text/markdown",
)  # fmt: skip
