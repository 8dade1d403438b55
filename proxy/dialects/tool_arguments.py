"""Arguments of tool calls compared by meaning: clients write the same arguments again in another spelling. Pure.

LangChain, Strands, Haystack and ADK put spaces after `:` and `,`; the AI SDK, pydantic-ai, qwen-code, pi and kimi-code leave
them out; Python writes `\\u00e9` for `é`, JavaScript `5` for `5.0`; a call without arguments is "" to some and "{}" to others.
"""

from __future__ import annotations

from typing import Any

import orjson

_MAX_CONTAINERS = 100_000  # in memory they take up to a hundred times their bytes
_MAX_DEPTH = 64


def meaning(arguments: object) -> object:
    """What can be compared and written as JSON: equal for arguments that mean the same, as text or as an object.

    A text that is no JSON object or list, or nests too deep or too much, stays what it is. Texts within are never read as
    JSON in turn: each costs what its bytes cost, once.
    """
    value = arguments
    if isinstance(value, str):
        text = value.strip()
        if text and text[0] not in "{[":
            return value
        if len(text) > _MAX_CONTAINERS and text.count("[") + text.count("{") > _MAX_CONTAINERS:
            return value
        try:
            value = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            return arguments
    elif value is None:
        value = {}
    try:
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        if b".0" in written:
            written = orjson.dumps(_whole(value), option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than can be written
        return arguments if isinstance(arguments, str) else "(too deep)"
    return orjson.Fragment(written)


def _whole(value: Any, depth: int = 0) -> Any:
    """The value with whole floats as integers; unchanged below a depth that no arguments have."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {name: _whole(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one, depth + 1) for one in value]
    return value
