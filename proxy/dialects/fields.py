"""Reading the fields of a request body that are priced or bounded: strict types, clear complaints, nothing guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import orjson

from proxy.dialects.outgoing import Outgoing, json_body
from proxy.dialects.unread_messages import UnreadMessages
from proxy.errors import invalid_request
from proxy.types import Call

MAX_TOKENS = 2**31 - 1
MAX_SEQUENCES = 128
_ONLY_OBJECTS = frozenset({dict})
_MAX_CONTAINERS = 400_000
_NOT_OPENING = bytes(set(range(256)) - set(b"[{"))
_MAX_NAMES, _MAX_NAME = 4096, 64
# Numbers that JSON's readers make floats of, so that they would be passed on as others: integers of more than 64 bits.
_DIGITS = bytes(48 if chr(code).isdigit() and code < 128 else 32 for code in range(256))
_LONG = b"0" * 19  # digits
_EVERY = 4
# At least so many of every fourth byte lie within so many digits, wherever those begin.
_LONG_SAMPLED = b"0" * (19 // _EVERY)
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+])(?<![eE]-)-?[0-9]{19,}(?![0-9.eE])")
_LEAST, _MOST = -(2**63), 2**64 - 1
_CONTAINERS = frozenset({dict, list})
_SCANNED_BYTES, _LOOKED_AT_BYTES = 2048, 1024 * 1024  # a larger body may be nothing but numbers: its bytes are scanned
_MOST_QUOTES = 1_000_000

# Names that make some servers fetch a URL, use another credential, run a template or take engine internals.
FOREIGN = frozenset({
    "api_base", "base_url", "api_key", "api_version", "api_type", "custom_llm_provider", "extra_headers", "extra_body",
    "extra_query", "headers", "mock_response", "model_list", "user_config", "litellm_params", "deployment_url",
    "vertex_credentials", "vertex_project", "vertex_location", "azure_ad_token", "s3_endpoint_url", "sagemaker_base_url",
    "chat_template", "prompt_embeds", "mm_processor_kwargs",
    # llama.cpp's own names for max_tokens and n, which win over the standard ones:
    "n_predict", "n_cmpl",
    "kv_transfer_params", "request_id", "ignore_eos",
    # Azure's search in data of its account, with endpoints and credentials of the client's choice:
    "data_sources", "dataSources",
})  # fmt: skip


def parse_object(raw: bytes) -> dict[str, Any]:
    """The body as an object. UTF-8 without BOM, no NaN; what is returned is what is forwarded."""
    body = load_object(raw)
    refuse_long_integers(raw, body)
    return body


def load_object(raw: bytes) -> dict[str, Any]:
    """The body as an object, of which numbers have to be looked at.

    Lists and objects take up to a hundred times their bytes in memory, so that their number is bounded. Each has two bytes or
    more, so that short bodies need not be looked at.
    """
    refuse_dense(raw)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid_request(f"The body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise invalid_request("The body must be a JSON object.")
    return body


def refuse_dense(raw: bytes) -> None:
    """Refuse a body of more lists and objects than `load_object` makes."""
    if len(raw) > 2 * _MAX_CONTAINERS and len(raw.translate(None, _NOT_OPENING)) > _MAX_CONTAINERS:
        raise invalid_request(f"The body has more than {_MAX_CONTAINERS:,} lists and objects.")


def refuse_long_integers(raw: bytes, body: Mapping[str, Any], size_bytes: int | None = None) -> bool:
    """Refuse what its reader made another number of. body: what `raw` says, or all of it that was not looked at before, which
    was written in so many bytes. Whether all values were looked at, and none is a number that large."""
    # Where values are looked at first, they are fewer than bytes, and nearly never one of them can be such a number.
    size = len(raw) if size_bytes is None else size_bytes
    looked_at_first = len(raw) > _SCANNED_BYTES and size <= _LOOKED_AT_BYTES
    if looked_at_first and name_of_long(body) is None:
        return True
    if _may_have_long(raw) and _has_long_integer(raw) and (name := name_of_long(body)) is not None:
        raise invalid_request(
            f"`{name}` has a whole number of more than 64 bits, which cannot be passed on as it is.", name
        )
    return False


def _may_have_long(raw: bytes) -> bool:
    """Whether so many digits stand in a row anywhere: a look at every fourth byte first, which nearly always is enough."""
    if raw[::_EVERY].translate(_DIGITS).find(_LONG_SAMPLED) < 0:
        return False
    return raw.translate(_DIGITS).find(_LONG) >= 0


def _has_long_integer(raw: bytes) -> bool:
    """Whether an integer of more than 64 bits stands in a JSON text, outside of its strings."""
    bare = raw
    if raw.count(b'"') <= _MOST_QUOTES:  # with more, cutting strings out costs too much: they are searched too
        bare = b"".join(raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    for match in _LONG_INTEGER.finditer(bare):
        digits = match[0].lstrip(b"-")
        if len(digits) > 20 or not _LEAST <= int(match[0]) <= _MOST:
            return True
    return False


def name_of_long(body: Mapping[str, Any]) -> str | None:
    """The field of a body in which a number is that large, taken for a float by its reader; None where there is none."""
    for name, field in body.items():
        level = [field]  # the values of one depth together, as a body may be nothing but short lists
        while level:
            kinds = {*map(type, level)}
            if float in kinds and max([abs(number) for number in level if type(number) is float]) >= -_LEAST:
                return name[:_MAX_NAME]
            if _CONTAINERS.isdisjoint(kinds):
                break
            dicts = [value for value in level if type(value) is dict]
            lists = [value for value in level if type(value) is list]
            level = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(lists)]
    return None


class PlainNames:
    """Names of fields of which a check has nothing to say, remembered: clients send the same few again and again, so that one
    comparison of sets is nearly always the whole check. A name is plain whatever its value; there is no end of names."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: set[str] = set()

    def cover(self, body: Mapping[str, Any]) -> bool:
        """Whether every field of the body is known to be plain."""
        return self._names.issuperset(body)

    def add(self, name: str) -> None:
        if len(self._names) < _MAX_NAMES and len(name) <= _MAX_NAME:
            self._names.add(name)


@cache
def _plain(bounded: frozenset[str]) -> PlainNames:
    return PlainNames()


def refuse_names(body: Mapping[str, Any], bounded: frozenset[str]) -> None:
    """Refuse foreign fields, and case variants of bounded ones, which some servers would read and we would not."""
    plain = _plain(bounded)
    if plain.cover(body):
        return
    for name in body:
        if name in bounded:
            plain.add(name)
            continue
        if name in FOREIGN or name.startswith("aws_"):
            raise invalid_request(f"The field {name!r} is not accepted here.", name)
        if name.lower() in bounded:
            raise invalid_request(f"The field {name[:40]!r} is a misspelling of {name.lower()!r}.", name.lower())
        plain.add(name)


def model_name(body: Mapping[str, Any], named: str | None = None) -> str:
    """The model that a call is for. named: by its path, which goes before what the body says."""
    model = body.get("model") if named is None else named
    if not isinstance(model, str) or not 1 <= len(model) <= 256 or not model.isprintable():
        raise invalid_request("`model` must be a name of 1 to 256 printable characters.", "model")
    return model


def boolean(body: Mapping[str, Any], name: str) -> bool:
    """True or False; absent and null are False."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid_request(f"`{name}` must be true or false.", name)
    return value


def integer(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    """An integer in [low, high]; None where absent or null. true, 1.0 and "1" are refused."""
    value = body.get(name)
    if value is None:
        return None
    return value if type(value) is int and low <= value <= high else _refused(name, low, high)


def _refused(name: str, low: int, high: int) -> int:
    raise invalid_request(f"`{name}` must be a whole number from {low} to {high}.", name)


def integers(body: Mapping[str, Any], names: Iterable[str], low: int, high: int) -> tuple[int, ...]:
    """Those of `names` that are given."""
    values: list[int] = []
    for name in names:
        value = body.get(name)
        if value is not None:
            values.append(value if type(value) is int and low <= value <= high else _refused(name, low, high))
    return tuple(values)


def mapping(body: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid_request(f"`{name}` must be an object.", name)
    return value


def unbounded_reasoning(body: Mapping[str, Any]) -> str:
    """Why nothing bounds what a call's way of reasoning costs, for a sentence; "" where something does.

    `pro` reads and thinks several times for one answer (developers.openai.com, reasoning), and is another model at OpenRouter
    (openrouter.ai/docs, GPT-5.6 migration, 2026-11).
    """
    if is_plain_reasoning(body.get("reasoning")):
        return ""
    return "`reasoning.mode` asks for several passes, or another model, of which no cap says how many; leave it out"


def is_plain_reasoning(reasoning: Any) -> bool:
    """Whether it has no mode but the ordinary one."""
    return not isinstance(reasoning, dict) or reasoning.get("mode") in (None, "standard")


def kind_of(part: Mapping[str, Any], name: str) -> str | None:
    """A part's `type`; None where it has none. name: the field of the body in which the part stands."""
    kind = part.get("type")
    if kind is not None and type(kind) is not str:
        raise invalid_request(f"`type` of a part of `{name}` must be a string.", name)
    return kind


def text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid_request(f"`{name}` must be a string.", name)
    return value


def objects(body: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    """A list of at least one object. It may be `UnreadMessages`: as a `list`, machine code would take the pieces for items."""
    items = body.get(name)
    if type(items) is UnreadMessages:
        if _ONLY_OBJECTS.issuperset(map(type, items.values())):
            return items  # those that were seen before are objects
        items = [*items]
    if not isinstance(items, list) or not items:
        raise invalid_request(f"`{name}` must be a list with at least one item.", name)
    for index, item in enumerate(items):
        if type(item) is not dict:
            raise invalid_request(f"`{name}[{index}]` must be an object.", name)
    return items


def optional_objects(body: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    """A list of objects; empty where absent or null."""
    return objects(body, name) if body.get(name) not in (None, []) else []


def encode(call: Call, model: str) -> Outgoing:
    """What is forwarded: the body that was parsed, for the model that it was routed to."""
    return json_body({**call.body, "model": model}, call.size_bytes, call.written)


def encode_nothing(call: Call, model: str) -> Outgoing:
    """What has no body."""
    return Outgoing(b"")
