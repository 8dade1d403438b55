"""pydantic's findings about a configuration, reworded for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from proxy.config.file import Problem

Location = Sequence[str | int]

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
_SHOULD = re.compile(r"[A-Z][a-z]+ should ")
_UNION = "must be one of the words, or a mapping, that docs/configuration.md names for it"
_CHOICES = {"on_unpriced": "must be refuse, allow, or a price to assume such as {input: '15', output: '75'}"}


def problems_of(root: type[BaseModel], errors: Iterable[Mapping[str, Any]]) -> list[Problem]:
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


def _message(root: type[BaseModel], location: Location, error: Mapping[str, Any]) -> str:
    kind, value, last = error["type"], error.get("input"), location[-1] if location else ""
    if kind == "extra_forbidden" and len(location) == 1 and last in _LITELLM:
        return f"is a setting of LiteLLM; {_LITELLM[str(last)]} (`taximeter import litellm` writes such a file from it)"
    if kind == "extra_forbidden":
        names = [name for model in _models_at(root, location[:-1]) for name in model.model_fields]
        return f"is not a setting{meant(last, names) or '; check its spelling'}"
    if kind == "missing":
        return "is required"
    if kind in ("tuple_type", "list_type"):
        if isinstance(value, dict):
            return "must be a list: each row begins with `- `, and its name stands in it as `name: …`"
        return f"must be a list: write [{value}]" if isinstance(value, str) else "must be a list"
    if kind in ("dict_type", "mapping_type", "model_type", "model_attributes_type"):
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
    form, _, fault = kind.partition("_")
    if form in _KINDS and fault in ("type", "parsing", "from_float"):
        return "is empty" if value is None else _KINDS[form]
    return _SHOULD.sub("must ", str(error["msg"]).removeprefix("Value error, "), count=1)


def _without_branches(root: type[BaseModel], location: Location) -> list[str | int]:
    """pydantic puts the name of a union's branch among the keys of the file: out with it."""
    kept: list[str | int] = []
    for part in location:
        names = {model.__name__ for model in _models_at(root, kept)}
        if isinstance(part, str) and ("[" in part or part in names):
            continue
        kept.append(part)
    return kept


def _models_at(root: type[BaseModel], location: Location) -> list[type[BaseModel]]:
    """The models that what stands there may be."""
    kinds: list[Any] = [root]
    for part in location:
        fields = [model.model_fields.get(str(part)) for model in _models(kinds)]
        known = [field.annotation for field in fields if field is not None]
        # a name or an index that is no field stands in a mapping or list, whose rows are next
        kinds = known or [inner for kind in kinds for inner in get_args(kind)]
    return list(_models(kinds))


def _models(kinds: Iterable[Any]) -> Iterator[type[BaseModel]]:
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
        else:
            yield from _models(get_args(kind))
