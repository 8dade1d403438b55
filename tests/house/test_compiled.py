"""The modules that setup.py lists for mypyc (`make compiled`): each is there, and has nothing that it cannot take."""

from __future__ import annotations

import ast
from functools import cache

from tests.house.source import ROOT, Source, imports, product

# What makes classes in its own way, or is heavy: a module that needs it is none of plain functions and values.
NOT_COMPILED = ("pydantic", "msgspec", "sqlalchemy", "alembic", "psycopg", "fastapi", "litellm", "typer", "jinja2")


@cache
def compiled() -> dict[str, Source | None]:
    """The modules that are listed, by their paths; None: there is no such file."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (listed,) = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_COMPILED"
    ]
    known = {source.path: source for source in product()}
    return {f"{name}.py": known.get(f"{name}.py") for name in ast.literal_eval(listed)}


def sources() -> list[Source]:
    return [source for source in compiled().values() if source is not None]


def test_every_module_that_is_listed_is_there() -> None:
    assert [path for path, source in compiled().items() if source is None] == []


def test_none_imports_what_makes_classes_in_its_own_way() -> None:
    found = [
        f"{source.path}: {name}"
        for source in sources()
        for name in sorted({name for name, _ in imports(source)})
        if name.split(".")[0] in NOT_COMPILED
    ]
    assert found == []


def test_none_has_a_generator_that_waits() -> None:
    """mypyc knows none."""
    found = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.AsyncFunctionDef) and any(isinstance(one, ast.Yield) for one in ast.walk(node))
    ]
    assert found == []


def test_no_class_of_a_module_that_is_not_inherits_from_theirs() -> None:
    """An interpreted class cannot inherit from a native one: the wheel's import would fail."""
    native = {
        (source.module, node.name)
        for source in sources()
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and not _is_of_python(node)
    }
    found = []
    for source in product():
        if source.path in compiled():
            continue
        named = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in source.tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                bases = [named.get(ast.unparse(base).partition("[")[0]) for base in node.bases]
                found += [f"{source.path}: {node.name}" for base in bases if base in native]
    assert found == []


def _is_of_python(node: ast.ClassDef) -> bool:
    """Whether its instances stay Python's: named tuples, exceptions, enumerations, protocols."""
    bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
    return bool(bases & {"NamedTuple", "TypedDict", "Protocol", "Enum", "Exception", "ValueError"})
