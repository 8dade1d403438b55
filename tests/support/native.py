"""Where `make compiled` has put machine code in the place of modules: some tests ask what only interpreted code shows, and none
can put something in the place of a native method, as native callers go on with the method: such a test would prove nothing.
"""

from __future__ import annotations

import ast
import pkgutil
import types
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from machine_code import COMPILED, constants, imported
from proxy.processes.code import IS_MACHINE_CODE as IS_NATIVE

# What native callers do not look up: methods and fields. Constants and decorated methods they do.
_NOT_LOOKED_UP = (
    types.MethodDescriptorType, types.ClassMethodDescriptorType, staticmethod, types.WrapperDescriptorType,
    types.GetSetDescriptorType,
)  # fmt: skip
_setattr = pytest.MonkeyPatch.setattr


def is_native(kind: Any, name: str) -> bool:
    """Whether that is a method or field of a class which mypyc made."""
    owners = [one for one in kind.__mro__ if name in vars(one)] if isinstance(kind, type) else []
    return bool(owners) and "__mypyc_attrs__" in vars(owners[0]) and isinstance(vars(owners[0])[name], _NOT_LOOKED_UP)


def is_kept(module: Any, name: str) -> bool:
    """Whether that is a module's constant, or another native module's function in it, which native code does not look up."""
    if not isinstance(module, types.ModuleType) or module.__name__.partition(".")[0] not in ("pricing", "proxy"):
        return False  # Python's own, which may have no file, and others' machine code
    file = module.__file__
    return file is not None and file.endswith(".so") and name in _kept_by(file)


@cache
def _kept_by(file: str) -> set[str]:
    machine_code = Path(file)
    source = machine_code.with_name(f"{machine_code.name.partition('.')[0]}.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    return {*constants(tree), *chain.from_iterable(imported(tree).values()), *_native_ones(tree)}


def _native_ones(tree: ast.Module) -> Iterator[str]:
    """The names that a module has from native modules: mypyc calls what is there."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").replace(".", "/") in COMPILED:
            yield from (one.asname or one.name for one in node.names)


def setattr_checked(self: pytest.MonkeyPatch, target: Any, name: Any, *value: Any, **more: Any) -> None:
    """`MonkeyPatch.setattr`, which fails where native callers would see nothing of it."""
    path, _, member = target.rpartition(".") if isinstance(target, str) else ("", "", name)
    kind = pkgutil.resolve_name(path) if path else target
    if is_native(kind, member):
        pytest.fail(
            f"{kind.__name__}.{member} is native, and native callers would not see what is put in its place: "
            "replace what is Python's, or pass a part in"
        )
    if is_kept(kind, member):
        pytest.fail(
            f"{kind.__name__}.{member} is kept by native code: it would have to be in SET_BY_TESTS (machine_code.py)"
        )
    _setattr(self, target, name, *value, **more)


def install() -> None:
    """Have what tests replace checked where there is machine code, and only there."""
    if IS_NATIVE:
        pytest.MonkeyPatch.setattr = setattr_checked  # type: ignore[method-assign]
