"""The project's own source, parsed once for the tests in this folder."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path below the root (with `/`), its dotted module name, its text and syntax tree."""

    path: str
    module: str
    text: str
    tree: ast.Module

    @staticmethod
    def parse(path: str, text: str) -> Source:
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return Source(path, module, text, ast.parse(text, path))


@cache
def sources(folder: str) -> tuple[Source, ...]:
    """Every Python file under `folder`, in the order of their paths.

    Their trees are millions of objects that stay: while they are made the garbage collector would take six times as long as the
    parser, and later it need not visit them.
    """
    files = sorted((ROOT / folder).rglob("*.py"))
    gc.disable()
    try:
        return tuple(
            Source.parse(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files
        )
    finally:
        gc.freeze()
        gc.enable()


def product() -> tuple[Source, ...]:
    return sources("pricing") + sources("proxy")


def dotted(node: ast.expr) -> str:
    """The source of an expression; that of `a.b.c`, which most are, is put together by hand."""
    names: list[str] = []
    inner = node
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    return ".".join([inner.id, *reversed(names)]) if isinstance(inner, ast.Name) else ast.unparse(node)


def imports(source: Source) -> Iterator[tuple[str, int]]:
    """Every module that `source` imports, wherever in the file and for types alone too, with the line."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{source.path}:{node.lineno}: write the whole name of the module, not a relative import"
            )
            assert node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
