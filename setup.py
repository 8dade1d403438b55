"""What pyproject.toml cannot say: where things lie in a wheel, and how the README reads away from its repository.

In a wheel, `proxy` and `pricing` lie inside `taximeter` (taximeter/__init__.py says why). Elsewhere than in the repository its
README has no pictures and no files to link to: they are left out, and links become words.

With TAXIMETER_COMPILED=1 the wheel has machine code beside some of its modules (`make compiled`), for one kind of machine and
one version of Python.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
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


class _BuildExt(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.build_lib = str(Path(self.build_lib, "taximeter"))

    def build_extensions(self) -> None:
        compiled: Callable[..., list[str]] = self.compiler.compile

        def at_once(sources: Sequence[str], *given: Any, **named: Any) -> list[str]:
            with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
                made = pool.map(lambda source: compiled([source], *given, **named), sources)
                return list(chain.from_iterable(made))

        self.compiler.compile = at_once
        from machine_code import COUNTED, COUNTING, train, trainable  # noqa: PLC0415 - see below

        if not trainable(self.compiler.compiler_so):
            super().build_extensions()
            return
        shutil.rmtree(self.build_temp, ignore_errors=True)  # counts of an earlier build
        self.force = True
        self._build_with(COUNTING)
        train(Path(self.build_lib).resolve())
        self._build_with(COUNTED)

    def _build_with(self, options: Sequence[str]) -> None:
        for extension in self.extensions:
            extension.extra_compile_args = [*extension.extra_compile_args, *options]
            extension.extra_link_args = [*extension.extra_link_args, *options]
        super().build_extensions()
        for extension in self.extensions:
            del extension.extra_compile_args[-len(options) :], extension.extra_link_args[-len(options) :]


def _machine_code() -> list[Extension]:
    if os.environ.get("TAXIMETER_COMPILED") != "1" or "bdist_wheel" not in sys.argv:  # metadata is asked for before
        return []
    sys.path.insert(0, str(Path(__file__).parent))
    from machine_code import extensions  # noqa: PLC0415 - it imports mypy, which nobody else has to have

    return extensions(_INSIDE)


def _readme() -> str:
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"<picture>.*?</picture>\n*", "", text, flags=re.DOTALL)
    return re.sub(r"\[([^\]]+)\]\((?!https?://|#)[^)]*\)", r"\1", text)


setup(
    cmdclass={"build_py": _BuildPy, "build_ext": _BuildExt}, ext_modules=_machine_code(),
    long_description=_readme(), long_description_content_type="text/markdown",
)  # fmt: skip
