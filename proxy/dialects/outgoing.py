"""A request body on its way to the upstream: written once, however late its few changing fields are known.

An agent's body has hundreds of kilobytes, of which caps and the like are some bytes: what does not change is written when
the call is planned, the rest is put behind it when it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from proxy.errors import invalid_request

# Fields that an attempt may set or change: caps, the number of tool calls, what we ask the upstream to report.
CHANGING = frozenset({
    "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tool_calls", "generationConfig", "stream_options",
    "timings_per_token", "service_tier",
})  # fmt: skip


class Outgoing:
    """A body of one call: what does not change, written already, and the fields that may. Of a body that is no JSON nothing
    changes."""

    __slots__ = ("_changing", "_fixed")

    def __init__(self, fixed: bytes, changing: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._fixed = fixed
        self._changing = changing

    def written(self, changes: Mapping[str, Any]) -> bytes:
        """The whole body with these fields changed."""
        return _joined(self._fixed, {**self._changing, **changes})


def json_body(body: Mapping[str, Any]) -> Outgoing:
    """A JSON object. Raises `Refused` (400) where it is nested deeper than can be written."""
    fixed = {name: value for name, value in body.items() if name not in CHANGING}
    return Outgoing(dumps(fixed), {name: body[name] for name in CHANGING & body.keys()})


def dumps(body: Mapping[str, Any]) -> bytes:
    """A body as JSON. Raises `Refused` (400) where it is nested deeper than can be written."""
    try:
        return orjson.dumps(body)
    except TypeError:
        raise invalid_request("The body is nested too deeply.") from None


def _joined(fixed: bytes, changing: Mapping[str, Any]) -> bytes:
    """Two objects' fields as one object's."""
    if not changing:
        return fixed
    behind = dumps(changing)
    return behind if fixed == b"{}" else b"%b,%b" % (fixed[:-1], behind[1:])
