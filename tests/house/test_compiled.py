"""The modules that `make compiled` makes machine code of: each is there, and has nothing that mypyc cannot take."""

from __future__ import annotations

import ast
import os
import resource
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from mypy import state

from machine_code import COMPILED, ROOT, natively
from tests.house.source import Source, imports, product
from tests.support.native import is_kept, setattr_checked

# What makes classes in its own way, or is heavy: a module that needs it is none of plain functions and values.
NOT_COMPILED = ("pydantic", "msgspec", "sqlalchemy", "alembic", "psycopg", "fastapi", "litellm", "typer", "jinja2")
# Functions that may stand in a slice's bounds.
LOOKS_ONLY = {"len", "find", "start", "end", "lstrip"}


@cache
def compiled() -> dict[str, Source | None]:
    """The modules that are listed, by their paths; None: there is no such file."""
    known = {source.path: source for source in product()}
    return {f"{name}.py": known.get(f"{name}.py") for name in COMPILED}


def sources() -> list[Source]:
    return [source for source in compiled().values() if source is not None]


def test_every_module_that_is_listed_is_there() -> None:
    assert [path for path, source in compiled().items() if source is None] == []
    assert list(compiled()) == sorted(set(compiled()))


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


def test_no_type_variable_is_one_of_some_types() -> None:
    """A function of several types is none that mypyc can write: "not valid as a type"."""
    found = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "TypeVar"
        and node.args[1:]
    ]
    assert found == []


def test_no_bound_of_a_slice_does_anything() -> None:
    """mypyc asks for it twice where it knows no quick way to slice: `data[os.write(file, data):]` wrote twice
    (findings/mypyc-slice-bound-twice.sh)."""
    found = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Slice)
        for call in ast.walk(node)
        if isinstance(call, (ast.NamedExpr, ast.Await))
        or (isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] not in LOOKS_ONLY)
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


def test_what_mypyc_is_given_has_the_same_lines() -> None:
    for source in sources():
        given = natively(source.text)
        ast.parse(given)
        assert given.count("\n") == source.text.count("\n"), source.path


def test_no_text_that_mypyc_is_given_is_put_together_by_format() -> None:
    """A conversion in an f-string would be a call of `str.format` for each of its parts."""
    assert '{name} {value} {value!r}"' in natively('f"{name} {value!s} {value!r}"')
    found = [
        f"{source.path}:{node.lineno}"
        for source in sources()
        for node in ast.walk(ast.parse(natively(source.text)))
        if isinstance(node, ast.FormattedValue) and node.conversion == ord("s")
    ]
    assert found == []


def test_what_is_made_or_imported_once_is_kept_but_for_types_and_what_tests_set() -> None:
    given = natively(
        """from __future__ import annotations

import orjson
from bisect import insort
from collections import deque
from proxy import meters
from proxy.errors import Refused, starting
from proxy.times import now_us
from proxy.upstream.connect import open_transport
A, B = 1, {2}
BOTH = (A, B)

def of(row: deque[int]) -> bytes:
    return orjson.dumps([*row])
"""
    )
    assert given.splitlines()[2:] == [
        "import orjson; _orjson_dumps: Final = orjson.dumps; _orjson_fragment: Final = orjson.Fragment",
        "from bisect import insort as _insort_; insort: Final = _insort_",
        "from collections import deque",  # a type
        "from proxy import meters",  # a package
        "from proxy.errors import Refused, starting as _starting_; starting: Final = _starting_",
        "from proxy.times import now_us",  # compiled, too
        "from proxy.upstream.connect import open_transport",  # tests set it
        "A: Final = 1; B: Final = {2}",
        "BOTH: Final = (A, B)",
        "",
        "def of(row: deque[int]) -> bytes:",
        "    return _orjson_dumps([*row])",
    ]


def test_a_value_is_no_concern_of_the_collector_and_what_tests_have_kinds_of_is_open() -> None:
    given = natively((ROOT / "pricing/usage.py").read_text(encoding="utf-8"))
    assert (
        "@mypyc_attr(acyclic=True, free_list_len=1)\n@dataclass(unsafe_hash=True, init=False)\nclass Reading(Value)"
        in given
    )
    given = natively((ROOT / "proxy/upstream/response.py").read_text(encoding="utf-8"))
    assert "@mypyc_attr(allow_interpreted_subclasses=True)\nclass Response:" in given
    given = natively((ROOT / "proxy/dialects/endpoint.py").read_text(encoding="utf-8"))
    assert (
        "@mypyc_attr(allow_interpreted_subclasses=True)\n@dataclass(unsafe_hash=True, init=False)\nclass Endpoint:"
        in given
    )


def test_machine_code_stays_at_half_of_the_steps() -> None:
    left_out, kept = ("PARSED", "INTENDED", "READ", "SETTLED"), ("ATTRIBUTED", "RESERVED", "PRICED", "ANSWERED")
    for name in ("run", "unary", "answering"):
        text = (ROOT / f"proxy/exchange/{name}.py").read_text(encoding="utf-8")
        given = natively(text)
        assert not any(f"await {step}" in given for step in left_out), name
        assert [step for step in kept if f"await {step}" in given] == [step for step in kept if f"await {step}" in text]
        assert given.count("\n") >= text.count("\n"), name


@pytest.mark.skipif(not state.__file__.endswith(".so"), reason="mypy is interpreted on this kind of machine")
def test_who_replaces_a_native_member_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy is made by mypyc, too."""
    for place in ((state.StrictOptionalState, "__init__"), ("mypy.state.StrictOptionalState.strict_optional",)):
        with pytest.raises(pytest.fail.Exception, match="is native"):
            setattr_checked(monkeypatch, *place, None)
    setattr_checked(monkeypatch, state.StrictOptionalState, "strict_optional_set", None)  # decorated: it is looked up


def test_a_constant_that_native_code_keeps_is_known_wherever_it_was_built(tmp_path: Path) -> None:
    """In a folder, too, whose name has a point."""
    folder = tmp_path / "tmp.Ab12"
    folder.mkdir()
    (folder / "money.py").write_text("KEPT = 1\nkind = KEPT + 1\n")
    module = ModuleType("proxy.money")
    module.__file__ = str(folder / "money.cpython-311-x86_64-linux-gnu.so")

    assert is_kept(module, "KEPT")
    assert not is_kept(module, "kind")


def test_whatever_else_is_replaced() -> None:
    class Kind:
        def method(self) -> int:
            return 1

    with pytest.MonkeyPatch.context() as patch:
        setattr_checked(patch, Kind, "method", lambda _: 2)
        setattr_checked(patch, "os.getcwd", lambda: "here")
        setattr_checked(patch, sys, "platform", "other")  # without a file
        setattr_checked(patch, resource, "RLIM_INFINITY", 7)  # machine code of Python's own
        assert (Kind().method(), os.getcwd()) == (2, "here")  # noqa: PTH109 - that is what was replaced
        assert (sys.platform, resource.RLIM_INFINITY) == ("other", 7)
    assert Kind().method() == 1


def _is_of_python(node: ast.ClassDef) -> bool:
    """Whether its instances stay Python's: named tuples, exceptions, enumerations, protocols."""
    bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
    return bool(bases & {"NamedTuple", "TypedDict", "Protocol", "Enum", "Exception", "ValueError"})
