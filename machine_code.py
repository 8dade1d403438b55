"""Which modules `make compiled` makes machine code of, and how they read for mypyc: line for line the same, with native values.

mypyc makes a structure of C only of what it sees to be a data class, and then calls its interpreted `__init__`. So a `frozen`
or `slotted` class becomes a data class whose `__init__` is written out, in the blank line behind its fields.
"""

from __future__ import annotations

import ast
import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from setuptools import Extension

ROOT = Path(__file__).parent
# What a unary call passes through, but for what mypyc cannot take (a generator that waits, structs of msgspec, `NotRequired`,
# classes with several bases or one of Python's).
COMPILED = (
    "pricing/book", "pricing/cost", "pricing/dearest", "pricing/lines", "pricing/money", "pricing/resolve",
    "pricing/selection", "pricing/usage", "pricing/value", "proxy/access/keys", "proxy/access/routes",
    "proxy/bounded_table", "proxy/budgets/budget", "proxy/budgets/counting", "proxy/budgets/memory",
    "proxy/budgets/memory_standings", "proxy/budgets/store", "proxy/budgets/totals", "proxy/budgets/waiting",
    "proxy/ceilings/call_price", "proxy/ceilings/ceiling", "proxy/ceilings/learned", "proxy/ceilings/rendered",
    "proxy/cohort", "proxy/dataplane/application", "proxy/dataplane/kept_sessions", "proxy/dialects/endpoint",
    "proxy/dialects/family", "proxy/dialects/fields",
    "proxy/dialects/openai", "proxy/dialects/outgoing", "proxy/dialects/references", "proxy/dialects/turns",
    "proxy/downstream/client", "proxy/downstream/connection", "proxy/downstream/cycle", "proxy/downstream/flow",
    "proxy/downstream/head_cache", "proxy/downstream/load", "proxy/downstream/pipelined", "proxy/downstream/timeouts",
    "proxy/downstream/weighing", "proxy/exchange/answer", "proxy/exchange/answering", "proxy/exchange/asking",
    "proxy/exchange/attempt", "proxy/exchange/attribute", "proxy/exchange/bounded", "proxy/exchange/configured",
    "proxy/exchange/doubt", "proxy/exchange/estimated", "proxy/exchange/exchange", "proxy/exchange/forward",
    "proxy/exchange/framed_gate", "proxy/exchange/gate", "proxy/exchange/intent", "proxy/exchange/jobs/begun",
    "proxy/exchange/kept_stream", "proxy/exchange/kinds", "proxy/exchange/learn", "proxy/exchange/limits",
    "proxy/exchange/passed_headers", "proxy/exchange/plan", "proxy/exchange/plane", "proxy/exchange/realtime/turn",
    "proxy/exchange/reserve", "proxy/exchange/retry", "proxy/exchange/run", "proxy/exchange/settlement",
    "proxy/exchange/steps", "proxy/exchange/stream", "proxy/exchange/unary", "proxy/exchange/usage_watch", "proxy/ids",
    "proxy/meters/failures", "proxy/meters/openai", "proxy/meters/openai_usage", "proxy/meters/reader",
    "proxy/meters/reading_builder", "proxy/money", "proxy/sessions/attribution", "proxy/sessions/chains",
    "proxy/sessions/costs", "proxy/sessions/keyed_hash", "proxy/sessions/known_clients", "proxy/sessions/trees",
    "proxy/shares", "proxy/spool/cost_lines", "proxy/spool/pending", "proxy/spool/writer", "proxy/times", "proxy/types",
    "proxy/upstream/connection", "proxy/upstream/destinations", "proxy/upstream/inflated", "proxy/upstream/outbox",
    "proxy/upstream/pool", "proxy/upstream/requests", "proxy/upstream/response", "proxy/upstream/turns",
    "proxy/upstream/writing", "proxy/wire/json_weight", "proxy/wire/lenient", "proxy/wire/packed", "proxy/wire/sse",
)  # fmt: skip
# Modules that are compiled together are one circle for mypy, in which some types cannot be found in time: they are any then.
_MYPY = """[mypy]
plugins = pydantic.mypy
disable_error_code = has-type, type-arg, var-annotated, no-any-return, misc
follow_imports = silent
ignore_missing_imports = true
"""
# What tests set, and so is looked up each time.
SET_BY_TESTS = frozenset({
    "FROM_BYTES", "_BLANK_LINE", "_CHECK_SIZE_EVERY_BYTES", "_COUNT_TIMEOUT_S", "_FIRST_PAUSE_S", "_HANG_UP_S", "_HIGH_WATER",
    "_SEGMENT_BYTES", "_STILL_S", "alike", "give_way", "open_transport", "perf_counter",
})  # fmt: skip
_DATA_CLASSES = {"@frozen": "unsafe_hash=True", "@slotted": "eq=True"}
# What makes a value; other things in small letters may be types.
_MADE = (ast.Call, ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.DictComp)
# Where types come from, or what mypy knows by its name.
_FOR_MYPY = frozenset({"__future__", "abc", "collections.abc", "dataclasses", "enum", "math", "types", "typing"})
# What mypyc is to know of classes: others have kinds of some, and the collector passes values over (`pricing/value.py`).
_KINDS, _VALUE = "@mypyc_attr(allow_interpreted_subclasses=True)", "@mypyc_attr(acyclic=True, free_list_len=1)"
_MARKED = {"Endpoint": _KINDS, "Response": _KINDS, "UpstreamClient": _KINDS, "Value": "@mypyc_attr(acyclic=True)"}
# Functions of others' modules that every call asks for.
_KEPT = {
    "orjson": {"orjson.dumps": "_orjson_dumps", "orjson.Fragment": "_orjson_fragment"},
    "time": {"time.perf_counter": "_time_perf_counter"},
}
# How code is compiled whose ways are counted, and how with what was counted.
COUNTING = ("-fprofile-generate",)
COUNTED = ("-fprofile-use", "-fprofile-correction", "-Wno-missing-profile", "-Wno-error")
# What runs while they are counted: mostly what has to be quick, and calls of all kinds.
_TRAINING = (
    "bench.steps --calls 4000", "bench.steps --calls 8000 --callers 16", "bench.steps --calls 60 --stream",
    "bench.steps --calls 100 --agent", "tests.support.varied_calls --calls 1500",
)  # fmt: skip
# Waiting at these steps saves interpreted code more than it costs, and machine code less (bench/call.md).
_STEPS_LEFT_OUT = re.compile(r"if COHORT\.crowded:\n +await (?:PARSED|INTENDED|READ|SETTLED)\b")
# What JSON's objects are called in the sources, which change none; a `dict` is asked directly.
_OBJECT = re.compile(r"\bMapping\[str, Any\]")
_FIRST = "from __future__ import annotations\n\n"
_NATIVE = """from __future__ import annotations; from dataclasses import dataclass; from typing import Final, TYPE_CHECKING
if TYPE_CHECKING: from mypy_extensions import mypyc_attr
"""  # which mypyc reads, and nobody has to have


def extensions(packages: tuple[str, ...]) -> list[Extension]:
    """Of copies, beside those of all other sources, for their types."""
    from mypyc.build import mypycify  # noqa: PLC0415 - of mypy, which takes a second

    copies = ROOT / "build" / "native"
    for package in packages:
        shutil.copytree(
            ROOT / package, copies / package, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
    for source in copies.rglob("*.py"):
        text = source.read_text(encoding="utf-8")
        source.write_text(_OBJECT.sub("dict[str, Any]", text), encoding="utf-8")
    for name in COMPILED:
        text = (copies / f"{name}.py").read_text(encoding="utf-8")
        (copies / f"{name}.py").write_text(natively(text), encoding="utf-8")
    (copies / "mypy.ini").write_text(_MYPY, encoding="utf-8")
    with contextlib.chdir(copies):  # a traceback has the names of files as mypyc was given them
        made: list[Extension] = mypycify(
            ["--config-file", "mypy.ini", *(f"{name}.py" for name in COMPILED)],
            opt_level="2", debug_level="0", multi_file=True, group_name="taximeter", target_dir=str(copies / "c"),
        )  # fmt: skip
    for one in made:
        one.sources = [os.path.relpath(copies / source, ROOT) for source in one.sources]
        one.depends = []
        if sys.platform == "linux":  # calls from module to module, and into Python, without a detour
            one.extra_compile_args = [*one.extra_compile_args, "-fvisibility=hidden", "-fno-plt"]
            one.extra_link_args = [*one.extra_link_args, *_linked(is_all=one.name.endswith("__mypyc"))]
    return made


def trainable(compiler: Sequence[str]) -> bool:
    """Whether that is GCC, and what calls need is installed here: a build may have an environment of its own."""
    modules = ", ".join(sorted({command.split()[0] for command in _TRAINING}))
    return is_gcc(compiler) and _run(ROOT, "-c", f"import {modules}", errors=DEVNULL) == 0


def is_gcc(compiler: Sequence[str]) -> bool:
    """compiler: with its options, as what comes first may only call it (`CC="ccache clang"`). One that cannot be run is none:
    the build says so."""
    try:
        asked = [*compiler, "--version"]
        said = subprocess.run(asked, check=False, capture_output=True, text=True).stdout  # noqa: S603 - what builds
    except OSError:
        return False
    return "Free Software Foundation" in said


def train(code: Path) -> None:
    """code: a folder with what the wheel is to have. Raises CalledProcessError where its calls go wrong."""
    for command in _TRAINING:
        if status := _run(code, "-m", *command.split()):
            raise subprocess.CalledProcessError(status, command)


def _run(code: Path, *arguments: str, errors: int | None = None) -> int:
    paths = {"PYTHONPATH": f"{code}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}  # else the wheel had bytecode
    command = [sys.executable, "-P", *arguments]
    env = {**os.environ, **paths}
    return subprocess.run(command, check=False, env=env, stdout=DEVNULL, stderr=errors).returncode  # noqa: S603 - see train


def _linked(*, is_all: bool) -> Iterator[str]:
    """Less memory for what only loading needs: the few pages of a file stand together, and where pointers are is said in bits
    (in place of half a megabyte), as the C library reads it since 2.36. is_all: of the file that all code is in. It tells an
    older library what it lacks; the small ones, which ask for nothing of it, would be read wrongly, and killed by signal 11."""
    yield "-Wl,-z,noseparate-code"
    library, version = platform.libc_ver()
    if is_all and library == "glibc" and tuple(map(int, version.split("."))) >= (2, 36):
        yield "-Wl,-z,pack-relative-relocs"


def natively(text: str) -> str:
    """A module's source for mypyc."""
    lines, tree = text.split("\n"), ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.Import) and node.names[0].name in _KEPT:
            kept = _KEPT[node.names[0].name]
            lines[node.lineno - 1] += "".join(f"; {name}: Final = {function}" for function, name in kept.items())
        if isinstance(node, ast.ClassDef):
            _make_data_class(node, lines)
            if node.name in _MARKED:
                first = node.decorator_list[0] if node.decorator_list else node
                lines[first.lineno - 2] = _MARKED[node.name]
    for node, names in imported(tree).items():
        given = ", ".join(
            f"{one.name} as _{one.name}_" if one.name in names else ast.unparse(one) for one in node.names
        )
        end = node.end_lineno or node.lineno
        lines[node.lineno - 1 : end] = [""] * (end - node.lineno + 1)
        kept = "; ".join(f"{name}: Final = _{name}_" for name in names)
        lines[node.lineno - 1] = f"from {node.module} import {given}; {kept}"
    for name, node in constants(tree).items():
        line, begin, end = lines[node.lineno - 1], len(name), 0
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            lines[node.lineno - 1] = _one_by_one(node)
        elif isinstance(node, ast.AnnAssign):
            begin, end = node.annotation.col_offset, node.annotation.end_col_offset or 0
            lines[node.lineno - 1] = f"{line[:begin]}Final[{line[begin:end]}]{line[end:]}"
        else:
            lines[node.lineno - 1] = f"{line[:begin]}: Final{line[begin:]}"
    text = "\n".join(lines).replace(_FIRST, _NATIVE, 1)
    for functions in _KEPT.values():
        for function, name in functions.items():
            text = text.replace(f"{function}(", f"{name}(")
    text = _STEPS_LEFT_OUT.sub("pass\n", text)
    return text.replace("!s}", "}")  # mypyc takes both for `str`, and the first for a call of `format` as well


def constants(tree: ast.Module) -> dict[str, ast.Assign | ast.AnnAssign]:
    """What a module makes once, when it is imported, by name: native code keeps it where it need not be looked up."""
    found: dict[str, ast.Assign | ast.AnnAssign] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=value) | ast.AnnAssign(
                ast.Name(name), value=ast.expr() as value
            ):
                if len(name) > 1 and (name.isupper() or isinstance(value, _MADE)) and name not in SET_BY_TESTS:
                    found[name] = node
            case ast.Assign(targets=[ast.Tuple(names)], value=ast.Tuple(values)) if (
                node.lineno == node.end_lineno and len(names) == len(values)
            ):
                if all(isinstance(one, ast.Name) and one.id.isupper() and one.id not in SET_BY_TESTS for one in names):
                    found |= {ast.unparse(one): node for one in names}
    changed = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    return {name: node for name, node in found.items() if name not in changed}


def imported(tree: ast.Module) -> dict[ast.ImportFrom, list[str]]:
    """The functions and constants that a module has from interpreted ones: they are kept, too."""
    types = {
        name.id
        for node in ast.walk(tree)
        for part in _with_types(node)
        for name in ast.walk(part)
        if isinstance(name, ast.Name)
    }
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module not in _FOR_MYPY:
            path = (node.module or "").replace(".", "/")
            if path in COMPILED:
                continue
            names = [
                one.name
                for one in node.names
                if (one.name.islower() or one.name.isupper())
                and one.asname is None
                and one.name not in types | SET_BY_TESTS
                and not any((ROOT / path / f"{one.name}{end}").exists() for end in ("", ".py"))
            ]
            if names:
                found[node] = names
    return found


def _with_types(node: ast.AST) -> list[ast.expr]:
    """Where names of types may stand."""
    match node:
        case ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation):
            return [annotation]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *([node.returns] if node.returns is not None else [])]
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases]
        case ast.Call(func=ast.Name("isinstance"), args=[_, kind]):
            return [kind]
        case ast.Call(func=ast.Name("cast"), args=[kind, _]):
            return [kind]
    return []


def _one_by_one(node: ast.Assign) -> str:
    """A line that sets several constants."""
    target, value = node.targets[0], node.value
    assert isinstance(target, ast.Tuple)
    assert isinstance(value, ast.Tuple)
    pairs = zip(target.elts, value.elts, strict=True)
    return "; ".join(f"{ast.unparse(name)}: Final = {ast.unparse(one)}" for name, one in pairs)


def _make_data_class(node: ast.ClassDef, lines: list[str]) -> None:
    for decorator in node.decorator_list:
        at = decorator.lineno - 1
        if how := _DATA_CLASSES.get(lines[at]):
            fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
            written = not any("= field(" in ast.unparse(one) for one in fields)  # else it is rarely made
            lines[at] = f"@dataclass({how}, init={not written})"
            if [ast.unparse(base) for base in node.bases] == ["Value"]:
                lines[at - 1] = _VALUE
            if written:
                behind = fields[-1].end_lineno or 0
                if lines[behind].strip():
                    raise ValueError(f"{node.name}: no blank line behind its fields")
                lines[behind] = f"    {_init(fields)}"


def _init(fields: list[ast.AnnAssign]) -> str:
    arguments = ", ".join(ast.unparse(field) for field in fields)  # as fields are written, so are arguments
    assignments = "; ".join(f"self.{name} = {name}" for name in (ast.unparse(field.target) for field in fields))
    return f"def __init__(self, {arguments}) -> None: {assignments}"
