"""All routes that an SDK calls, read from its source: method, path with `{}` for what stands in it, and the SDK's method."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

_VERBS = {"_get": "GET", "_post": "POST", "_put": "PUT", "_patch": "PATCH", "_delete": "DELETE", "_get_api_list": "GET"}


class SdkRoute(NamedTuple):
    verb: str
    path: str
    call: str


def routes_of(package: str) -> list[SdkRoute]:
    """Of one package, which is looked at and not imported."""
    spec = PathFinder.find_spec(package, sys.path)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    walks = {"elevenlabs": _fern, "replicate": _replicate}
    found: dict[tuple[str, str], set[str]] = {}
    for verb, path, call in walks.get(package, _stainless)(root):
        found.setdefault((verb, path), set()).add(call)
    return sorted(SdkRoute(verb, path, min(calls)) for (verb, path), calls in found.items())


def _calls(folder: Path, pattern: str) -> Iterator[tuple[str, ast.Call, str]]:
    """The file, a call in it, and the method that it stands in; of synchronous classes."""
    for file in sorted(folder.rglob(pattern)):
        for kind in ast.parse(_synchronous(file.read_text(encoding="utf-8"))).body:
            if not isinstance(kind, ast.ClassDef) or kind.name.startswith("Async") or "With" in kind.name:
                continue
            for method in kind.body:
                if isinstance(method, ast.FunctionDef):
                    for call in ast.walk(method):
                        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
                            yield ".".join(file.relative_to(folder).with_suffix("").parts), call, method.name


def _synchronous(source: str) -> str:
    """Where only asynchronous classes and what wraps others follow, without them: they are half of what would be parsed."""
    first, _, rest = source.partition("\nclass Async")
    return source if re.search(r"^class (?!Async|\w*With)", rest, re.MULTILINE) else first


def _stainless(root: Path) -> Iterator[tuple[str, str, str]]:
    for file, call, method in _calls(root / "resources", "*.py"):
        assert isinstance(call.func, ast.Attribute)
        verb, place = _VERBS.get(call.func.attr), call.args[0]
        if isinstance(place, ast.Call) and place.args:
            place = place.args[0]
        if verb is not None and (path := _path(place)):
            given = [
                key.value.value for key in call.keywords if key.arg == "method" and isinstance(key.value, ast.Constant)
            ]
            yield str(given[0]).upper() if given else verb, path, f"{file}.{method}"


def _fern(root: Path) -> Iterator[tuple[str, str, str]]:
    for file, call, method in _calls(root, "raw_client.py"):
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in ("request", "stream") and (path := _path(call.args[0])):
            given = [
                key.value.value for key in call.keywords if key.arg == "method" and isinstance(key.value, ast.Constant)
            ]
            yield str(given[0]) if given else "GET", path, f"{file.removesuffix('.raw_client')}.{method}"


def _replicate(root: Path) -> Iterator[tuple[str, str, str]]:
    for file, call, method in _calls(root, "*.py"):
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr == "_request" and len(call.args) > 1 and (path := _path(call.args[1])):
            verb = call.args[0]
            if isinstance(verb, ast.Constant):
                yield str(verb.value), path, f"{file}.{method}"


def _path(place: ast.expr) -> str:
    """A path as a template with `{}`; "" for what is none."""
    if isinstance(place, ast.Constant) and isinstance(place.value, str):
        text = place.value
    elif isinstance(place, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in place.values)
    else:
        return ""
    pieces = [
        "{}" if piece.startswith("{") and piece.endswith("}") else piece
        for piece in text.partition("?")[0].lstrip("/").split("/")
    ]
    return "/" + "/".join(pieces)
