"""A request body for the upstream: serialised once, even where a few of its fields are known only later.

An agent's body has hundreds of kilobytes, of which caps and the like are some bytes: what does not change is written when
the call is planned, the rest is put behind it when it is sent. A small body is written whole, and once more where it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from proxy.errors import invalid_request
from proxy.wire.packed import packed

# Fields that an attempt may set or change: caps, the number of tool calls, what we ask the upstream to report.
CHANGING = frozenset({
    "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tool_calls", "generationConfig", "stream_options",
    "timings_per_token", "service_tier",
})  # fmt: skip

_SMALL_BYTES = (
    65_536  # to write such a body once more costs less than to write it in parts; a larger one is not held twice
)


_UNCHANGED: Mapping[str, Any] = MappingProxyType({})


class Outgoing:
    """A body of one call: what does not change, written already, and the fields that may. Of a body that is no JSON nothing
    changes. body: a small one, which is written whole."""

    __slots__ = ("_body", "_changing", "_fixed")

    def __init__(
        self,
        fixed: bytes,
        changing: Mapping[str, Any] = _UNCHANGED,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        self._fixed = fixed
        self._changing = changing
        self._body = body

    def written(self, changes: Mapping[str, Any]) -> bytes:
        """The whole body with these fields changed."""
        if self._body is not None:
            return dumps({**self._body, **changes}) if changes else self._fixed
        return _joined(self._fixed, {**self._changing, **changes} if changes else self._changing)


def json_body(body: Mapping[str, Any], size_bytes: int = _SMALL_BYTES) -> Outgoing:
    """A JSON object of about that size. Raises `Refused` (400) where it is nested deeper than can be written."""
    if size_bytes < _SMALL_BYTES:
        return Outgoing(dumps(body), _UNCHANGED, body)
    fixed, changing = dict(body), {}
    for name, value in body.items():
        # Numbers and objects: one of them may be, or have, an output cap under another name.
        if name in CHANGING or type(value) is int or type(value) is dict:
            changing[name] = fixed.pop(name)
    return Outgoing(dumps(fixed), changing)


def dumps(body: Mapping[str, Any]) -> bytes:
    """A body as JSON. Raises `Refused` (400) where it is nested deeper than can be written."""
    try:
        return packed(body)
    except TypeError:
        raise invalid_request("The body is nested too deeply.") from None


def _joined(fixed: bytes, changing: Mapping[str, Any]) -> bytes:
    """Two objects' fields as one object's."""
    if not changing:
        return fixed
    behind = dumps(changing)
    return behind if fixed == b"{}" else b"".join([memoryview(fixed)[:-1], b",", memoryview(behind)[1:]])
