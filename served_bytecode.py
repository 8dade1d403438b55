"""Compiles what `serve` imports, when it is installed: the first start is as quick as the others. Of other packages without
docstrings and assertions, which nobody asks for there, and which the processes would hold as long as they run: four megabytes.

    python -P served_bytecode.py
"""

from __future__ import annotations

import importlib
import py_compile
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

SERVED = (
    "taximeter",  # which says where the others are
    "proxy.cli.serve", "proxy.config.checks", "proxy.dataplane.process", "proxy.control.process", "proxy.control.services",
    "proxy.control.api.app", "proxy.control.pages.site",
)  # fmt: skip

OURS = ("pricing", "proxy", "taximeter")


def of_other_packages() -> Iterator[tuple[str, str]]:
    """The files that the modules of other packages come from, of those that are imported: sources and bytecode."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    for name, module in [*sys.modules.items()]:
        spec = getattr(module, "__spec__", None)
        if spec is None or not spec.origin or not spec.cached or name.partition(".")[0] in OURS:
            continue
        if any(Path(spec.origin).is_relative_to(folder) for folder in folders):
            yield spec.origin, spec.cached


def main() -> None:
    for name in SERVED:
        importlib.import_module(name)  # which compiles what is not
    for source, bytecode in of_other_packages():
        py_compile.compile(source, cfile=bytecode, optimize=2)


if __name__ == "__main__":
    main()
