"""From a YAML file to plain values: strict YAML, then `${VAR}`, `${VAR:-default}`, `os.environ/VAR` and `${file:PATH}`.

Knows nothing of what the values mean; `model.py` does. Every fault is a `Problem` with its key path, so that a person
sees all of them at once. The environment is an argument: only `load` touches the disk.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pricing.values import slotted
from proxy.config.problems import ConfigError, Problem
from proxy.config.yaml_mistakes import not_utf8, what_and_where
from proxy.patterns import compiled_later

with compiled_later():  # its own parser's, which few files need: 15 ms
    import yaml

_REFERENCE = re.compile(r"\$\{(?:file:(?P<file>[^}]+)|(?P<var>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}")
_SHELL_REFERENCE = re.compile(r"\$(?P<var>[A-Z][A-Z0-9_]*)\Z")
_LITELLM_REFERENCE = re.compile(r"os\.environ/(?P<var>[A-Za-z_][A-Za-z0-9_]*)\Z")
_MAX_SECRET_FILE_BYTES = 65_536


class _Strict(yaml.constructor.SafeConstructor):
    """Refuses a key that stands twice in one mapping, where YAML would keep the last and say nothing."""


class _StrictLoader(_Strict, yaml.SafeLoader):
    """Its words for a mistake are the ones that people are told."""


def _construct_mapping(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue  # `<<: *other`: what stands here besides wins over it
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands here twice", key_node.start_mark
            )
        seen.add(key)
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=True)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)

_PLAIN_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")


def _construct_int(loader: Any, node: yaml.ScalarNode) -> int:
    """A decimal number. YAML 1.1 reads 010 as 8 and 1:30 as 90, which nobody means."""
    if not _PLAIN_INT.match(node.value):
        raise _misread(node, loader.construct_yaml_int(node))
    return int(node.value.replace("_", ""))


def _construct_float(loader: Any, node: yaml.ScalarNode) -> float:
    if ":" in node.value:
        raise _misread(node, loader.construct_yaml_float(node))
    return float(loader.construct_yaml_float(node))


def _misread(node: yaml.ScalarNode, number: float) -> yaml.constructor.ConstructorError:
    advice = f"{node.value} would be read as {number}; write a decimal number, or put it in quotes"
    return yaml.constructor.ConstructorError(None, None, advice, node.start_mark)


_Strict.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Strict.add_constructor("tag:yaml.org,2002:float", _construct_float)

# What libyaml takes and PyYAML does not, or reads otherwise: a tab or a question mark in a word, a tag that is `!` alone, `|#`,
# and what ends a line or stands before a text in Unicode; and what is so deep that PyYAML refuses it.
_READ_OTHERWISE = re.compile("[\t?!\x85\u2028\u2029\ufeff]|[|>][-+0-9]*#|(?:- +){100}")
_UNFIT = (TypeError, ValueError, LookupError, AttributeError)  # by which PyYAML fails at a value
_MOST_OPENED = 10_000  # each in another, of 100,000 the calls in C would end the process: no stack is that large


def _quickly(text: str) -> Any:
    """The tree as libyaml reads it, in an eighth of the time; None where the text is left to PyYAML, as every mistake is."""
    is_deep = text.count("[") + text.count("{") > _MOST_OPENED
    if not yaml.__with_libyaml__ or is_deep or _READ_OTHERWISE.search(text):
        return None

    class Loader(_Strict, yaml.CSafeLoader):
        pass

    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - as below
    except (yaml.YAMLError, RecursionError, *_UNFIT):
        return None


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """The file's mapping. Raises `ConfigError` with line and column where it is not YAML or not a mapping."""
    try:
        tree = _quickly(text) or yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader, only stricter
    except yaml.YAMLError as error:
        what, where = what_and_where(error, text)
        raise ConfigError([Problem(f"{name}{where}", what)]) from None
    except RecursionError:
        raise ConfigError([Problem(name, "is nested too deeply")]) from None
    except (TypeError, ValueError) as error:  # an unhashable key, an impossible date
        raise ConfigError([Problem(name, str(error))]) from None
    except _UNFIT:
        why = "has a tag that its value does not fit, as `!!bool x`; write the value itself"
        raise ConfigError([Problem(name, why)]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([Problem(name, "must be a mapping of settings at the top level")])
    return tree


# What a key may do: an empty value must not come out as "everything" or "for ever".
_LIMITS_OF_A_KEY = (("models",), ("expires",))


class Lines:
    """On which line of the file each key path stands."""

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        self._known: set[int] = set()
        # A fault of syntax has its own line, and is reported by `parse_yaml`.
        with contextlib.suppress(yaml.YAMLError, RecursionError):
            self._read(yaml.compose(text, Loader=yaml.SafeLoader), "")

    def _read(self, node: yaml.Node | None, path: str) -> None:
        if id(node) in self._known:
            return  # an alias: what it stands for was read where it stands
        self._known.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                below = f"{path}.{key.value}" if path else str(key.value)
                self._lines[below] = key.start_mark.line + 1
                self._read(value, below)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._lines[f"{path}[{index}]"] = value.start_mark.line + 1
                self._read(value, f"{path}[{index}]")

    def of(self, path: str) -> int | None:
        """The line of this path, or, of what is not there, of the nearest above it."""
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines.get(path)

    def put(self, problem: Problem) -> Problem:
        return replace(problem, line=self.of(problem.path))


def read_lines(path: Path) -> Lines:
    """The lines of the file at `path`; none where it cannot be read."""
    try:
        return Lines(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return Lines("")


class _UnsetError(Exception):
    """An environment variable (or secret file) that a value needs is not there."""


@slotted
class Expansion:
    """The tree with references replaced; what was wrong; and the paths left out because an `api_key` is unset."""

    tree: dict[str, Any]
    problems: list[Problem]
    left_out: list[tuple[str, str]]


def expand(tree: dict[str, Any], environ: Mapping[str, str], base: Path) -> Expansion:
    """Replace every reference in `tree`. `base` is the folder that relative `${file:…}` paths start from.

    An unset variable is a problem, but in `upstreams.NAME.api_key` it leaves that upstream out (`left_out`). A value
    that comes out empty is as if absent, but where that would lift a key's limits: there it is a problem.
    """
    result = Expansion({}, [], [])
    result.tree = _expand_mapping(tree, (), environ, base, result)
    return result


def _expand_mapping(
    node: dict[Any, Any], path: tuple[str, ...], environ: Mapping[str, str], base: Path, result: Expansion
) -> dict[str, Any]:
    expanded: dict[str, Any] = {}
    for key, value in node.items():
        here = (*path, str(key))
        try:
            replaced = _expand_value(value, here, environ, base, result)
        except _UnsetError as unset:
            if len(here) == 3 and here[0] == "upstreams" and here[2] == "api_key":
                result.left_out.append((here[1], str(unset)))
            else:
                result.problems.append(Problem(".".join(here), f"{unset}; set it, or write ${{NAME:-default}}"))
            continue
        if replaced == "" and value != "" and isinstance(value, str):
            if here[0].startswith("keys[") and here[1:] in _LIMITS_OF_A_KEY:
                result.problems.append(Problem(".".join(here), "comes out empty, which would lift the limit"))
            elif here[1:-1] == ("match",):
                result.problems.append(Problem(".".join(here), "comes out empty, and every call would be matched"))
            continue
        expanded[str(key)] = replaced
    return expanded


def _expand_value(value: Any, path: tuple[str, ...], environ: Mapping[str, str], base: Path, result: Expansion) -> Any:
    if isinstance(value, dict):
        return _expand_mapping(value, path, environ, base, result)
    if isinstance(value, list):
        items = []
        for index, item in enumerate(value):
            here = (*path[:-1], f"{path[-1]}[{index}]")
            try:
                items.append(_expand_value(item, here, environ, base, result))
            except _UnsetError as unset:
                result.problems.append(Problem(".".join(here), f"{unset}; set it, or write ${{NAME:-default}}"))
        return items
    if not isinstance(value, str):
        return value
    whole = _LITELLM_REFERENCE.match(value)
    if whole:
        return _variable(whole["var"], None, environ)
    if problem := _no_reference(value):
        result.problems.append(Problem(".".join(path), problem))

    def replace(match: re.Match[str]) -> str:
        if match["file"]:
            return _secret_file(match["file"], base)
        return _variable(match["var"], match["default"], environ)

    return _REFERENCE.sub(replace, value)


def _no_reference(value: str) -> str | None:
    """Why what looks like a reference is none; else it would be sent as a key as it stands, and nobody told."""
    if shell := _SHELL_REFERENCE.match(value):
        return f"{value} is not replaced; write ${{{shell['var']}}}"
    if "${" in _REFERENCE.sub("", value):
        return "has a ${ that begins no reference; write ${NAME}, ${NAME:-default} or ${file:PATH}"
    return None


def _variable(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if value:
        return value
    if default is not None:
        return default
    raise _UnsetError(f"the environment variable {name} is not set")


def _secret_file(name: str, base: Path) -> str:
    path = base / name
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_SECRET_FILE_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _UnsetError(f"the file {name} cannot be read ({error.__class__.__name__})") from None


def load(path: Path, environ: Mapping[str, str]) -> Expansion:
    """Read and expand the file at `path`. Raises `ConfigError` where it cannot be read or is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), not_utf8(error))]) from None
    except OSError as error:
        raise ConfigError([Problem(str(path), f"cannot be read: {error.strerror or error}")]) from None
    return expand(parse_yaml(text, path.name), environ, path.parent)
