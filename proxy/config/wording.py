"""pydantic's findings about a configuration, reworded for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from proxy.config.problems import Problem
from proxy.config.reading import settings_of
from proxy.config.rules import is_section, key_of

Location = Sequence[str | int]

NO_SETTING = "is not a setting"

_LITELLM = {
    "model_list": "here hosts stand under `upstreams` and names under `models`",
    "general_settings": "here the admin key stands under `server`, the database is `ledger`",
    "litellm_settings": "here each thing has a setting of its own",
    "router_settings": "here `retries` and `fallbacks` stand with each of `models`",
}
_KINDS = {
    "string": "must be text: put it in quotes",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
}
_PATTERNS = {
    "key_sha256": "must be the SHA-256 of the secret: 64 hexadecimal digits",
    "name": "may have letters, digits, `.`, `_` and `-`",
    "public_url": "must be http(s)://host[:port][/path]",
}
# What a setting's name says that its number counts; and what people write behind a number, in it.
_SHARE = "of 1"
_COUNTED = {
    "_s": "seconds",
    "_mb": "megabytes",
    "_kb": "kilobytes",
    "_days": "days",
    "_share": _SHARE,
    "sample": _SHARE,
}
_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%µ]+)\Z")
_FACTORS: dict[str, dict[str, float]] = {
    "seconds": {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400},
    "megabytes": {"kb": 0.001, "k": 0.001, "mb": 1, "mib": 1, "m": 1, "gb": 1000, "gib": 1024, "g": 1000},
    "kilobytes": {"b": 0.001, "kb": 1, "kib": 1, "k": 1, "mb": 1000, "mib": 1024, "m": 1000},
    "days": {"d": 1, "day": 1, "days": 1, "w": 7, "y": 365},
    _SHARE: {"%": 0.01},
    "": {"k": 1000, "m": 1_000_000, "g": 1_000_000_000},
}
_SMALLER = {"seconds": ("milliseconds", 1000), "megabytes": ("bytes", 2**20), "kilobytes": ("bytes", 2**10)}
_BOUNDS = {
    "less_than_equal": "at most",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "greater_than": "more than",
}
_SHOULD = re.compile(r"[A-Z][a-z]+ should ")
_UNION = "must be one of the words, or a mapping, that docs/configuration.md names for it"
_CHOICES = {"on_unpriced": "must be refuse, allow, or a price to assume such as {input: '15', output: '75'}"}


def problems_of(root: Any, errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """pydantic's errors as problems: of one place at most one, where a value may be of several kinds."""
    messages: dict[str, str] = {}
    for error in errors:
        location = _without_branches(root, error["loc"])
        path = path_of(location)
        message = _message(root, location, error)
        messages[path] = _CHOICES.get(path, _UNION) if path in messages and messages[path] != message else message
    return [Problem(path, message) for path, message in messages.items()]


def path_of(location: Location) -> str:
    """`budgets[0].per`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def meant(word: object, candidates: Iterable[str]) -> str:
    """ "; did you mean x?", where one of the known names is close; else ""."""
    import difflib  # noqa: PLC0415 - only where something is wrong

    near = difflib.get_close_matches(str(word).lower(), list(candidates), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near and near[0] != word else ""


def _message(root: Any, location: Location, error: Mapping[str, Any]) -> str:
    kind, value, last = error["type"], error.get("input"), location[-1] if location else ""
    if kind == "unexpected_keyword_argument" and len(location) == 1 and last in _LITELLM:
        return f"is a setting of LiteLLM; {_LITELLM[str(last)]} (`taximeter import litellm` writes such a file from it)"
    if kind == "unexpected_keyword_argument":
        names = [key_of(name) for section in _sections_at(root, location[:-1]) for name in settings_of(section)]
        if str(last) != str(last).strip():
            return f"{NO_SETTING}: beside it stands what looks like a blank and is none; type the blanks anew"
        is_outside = len(location) == 1 and isinstance(value, dict)
        advice = "check its spelling; what belongs to a section is indented" if is_outside else "check its spelling"
        return f"{NO_SETTING}{meant(last, names) or f'; {advice}'}"
    if kind == "missing":
        return "is required"
    if kind in ("tuple_type", "list_type"):
        if isinstance(value, dict):
            return "must be a list: each row begins with `- `, and its name stands in it as `name: …`"
        return f"must be a list: write [{value}]" if isinstance(value, str | int | float) else "must be a list"
    if kind in ("dict_type", "mapping_type", "dataclass_type"):
        return (
            "must be a mapping: `name: value`, and no list"
            if isinstance(value, list)
            else "must be a mapping: `name: value`"
        )
    if kind == "literal_error":
        words = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return f"must be one of {', '.join(words)}{meant(value, words)}"
    if "alert_at" in location:
        return "must be a share of the limit: 0.8 is 80 %"
    if kind == "string_pattern_mismatch" and last in _PATTERNS:
        return _PATTERNS[str(last)]
    if kind in _BOUNDS:
        bound, unit = next(iter(error["ctx"].values())), _counted(str(last))
        said = " ".join(filter(None, ["must be", _BOUNDS[kind], f"{bound:.12g}", unit.replace(_SHARE, "")]))
        return said + _other_unit(unit, value, bound)
    form, _, fault = kind.partition("_")
    if form in ("int", "float") and isinstance(value, str) and (number := _number_meant(str(last), value)):
        return number
    if form in _KINDS and fault in ("type", "parsing", "from_float"):
        return "is empty" if value is None else _KINDS[form]
    return _SHOULD.sub("must ", str(error["msg"]).removeprefix("Value error, "), count=1)


def _other_unit(unit: str, value: Any, bound: float) -> str:
    """What was probably meant by a number that is beyond its bound; empty where nobody can say."""
    if unit == "seconds" and value == bound == 0:
        return ": there is none that never ends; for the longest write 86400"
    if isinstance(value, int | float) and value > bound and (smaller := _SMALLER.get(unit)):
        name, factor = smaller
        if 1 <= value / factor <= bound:
            return f"; if {name} are meant, {value / factor:.4g}"
    return ""


def _counted(name: str) -> str:
    return next((unit for ending, unit in _COUNTED.items() if name.endswith(ending)), "")


def _number_meant(name: str, text: str) -> str | None:
    """What to write for `10s`, `4GB`, `5%`, `128k` or `1e6`; None where nobody can say."""
    unit = _counted(name)
    written = _WRITTEN.match(text.strip())
    factor = _FACTORS[unit].get(written[2].lower()) if written else None
    if written and factor is not None:
        number = f"{float(written[1]) * factor:.12g}"
    elif re.fullmatch(r"[0-9]+(\.[0-9]+)?[eE]\+?[0-9]+", text):
        number = f"{float(text):.0f}"
    else:
        return None
    counts = {"": "a number in full", _SHARE: "a share of 1"}.get(unit, f"a number of {unit}")
    return f"must be {counts}, and nothing behind it: {number}"


def _without_branches(root: Any, location: Location) -> list[str | int]:
    """pydantic puts the name of a union's branch among the keys of the file: out with it."""
    kept: list[str | int] = []
    for part in location:
        names = {section.__name__ for section in _sections_at(root, kept)}
        if isinstance(part, str) and ("[" in part or part in names):
            continue
        kept.append(part)
    return kept


def _sections_at(root: Any, location: Location) -> list[Any]:
    """The sections that what stands there may be."""
    kinds: list[Any] = [root]
    for part in location:
        types = [settings_of(section).get(str(part)) for section in _sections(kinds)]
        known = [kind for kind in types if kind is not None]
        # a name or an index that is no field stands in a mapping or list, whose rows are next
        kinds = known or [inner for kind in kinds for inner in get_args(kind)]
    return list(_sections(kinds))


def _sections(kinds: Iterable[Any]) -> Iterator[Any]:
    for kind in kinds:
        if is_section(kind):
            yield kind
        else:
            yield from _sections(get_args(kind))
