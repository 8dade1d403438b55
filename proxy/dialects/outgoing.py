"""A request body for the upstream: serialised once, even where a few of its fields are known only later.

An agent's body has hundreds of kilobytes, of which caps and the like are some bytes: what does not change is written when
the call is planned, the rest is put behind it when it is sent. A small body is written whole, and once more where it changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.values import NOTHING
from proxy.errors import invalid_request
from proxy.wire.packed import packed
from proxy.wire.written_list import WrittenList

# Fields that an attempt may set or change: caps, the number of tool calls, what we ask the upstream to report.
CHANGING = frozenset({
    "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tool_calls", "generationConfig", "stream_options",
    "timings_per_token", "service_tier",
})  # fmt: skip

_SMALL_BYTES = (
    65_536  # to write such a body once more costs less than to write it in parts; a larger one is not held twice
)


class Outgoing:
    """A body of one call: what does not change, written already, and the fields that may. Of a body that is no JSON nothing
    changes. body: a small one, which is written whole. Of a large one the fields that may change are `changing`, written as
    `behind`, which stands behind the first `fixed_bytes` of what is written."""

    __slots__ = ("_behind", "_body", "_changing", "_fixed_bytes", "_written")

    def __init__(
        self,
        written: bytes,
        body: Mapping[str, Any] | None = None,
        *,
        changing: Mapping[str, Any] = NOTHING,
        behind: bytes = b"",
        fixed_bytes: int = 0,
    ) -> None:
        self._written = written
        self._body = body
        self._changing = changing
        self._behind = behind
        self._fixed_bytes = fixed_bytes

    def written(self, changes: Mapping[str, Any]) -> bytes:
        """The whole body with these fields changed. Of a large one there is but one copy: as it was asked for last."""
        if self._body is not None:
            return dumps({**self._body, **changes}) if changes else self._written
        if self._fixed_bytes and (behind := dumps({**self._changing, **changes})) != self._behind:
            fixed = memoryview(self._written)[: self._fixed_bytes]
            self._written = b"".join([fixed, b"," if len(fixed) > 1 and len(behind) > 2 else b"", behind[1:]])
            self._behind = behind
        return self._written


def json_body(
    body: Mapping[str, Any], size_bytes: int = _SMALL_BYTES, written_list: WrittenList | None = None
) -> Outgoing:
    """A JSON object of about that size. written_list: one of its lists. Raises `Refused` (400) where it is nested deeper than
    can be written."""
    if size_bytes < _SMALL_BYTES:
        return Outgoing(dumps(body), body)
    fixed, changing, has_place = dict(body), {}, False
    for name, value in body.items():
        # Numbers and objects: one of them may be, or have, an output cap under another name.
        if name in CHANGING or type(value) is int or type(value) is dict:
            changing[name] = fixed.pop(name)
        elif written_list is not None and value is written_list.listed:
            fixed[name], has_place = written_list.placed(), True
    written, behind = dumps({**fixed, **changing}), dumps(changing)
    if has_place and written_list is not None:
        written = written_list.filled(written)
    fixed_bytes = max(1, len(written) - (len(behind) if changing else 1))
    return Outgoing(written, changing=changing, behind=behind, fixed_bytes=fixed_bytes)


def dumps(body: Mapping[str, Any]) -> bytes:
    """A body as JSON. Raises `Refused` (400) where it is nested deeper than can be written."""
    try:
        return packed(body)
    except TypeError:
        raise invalid_request("The body is nested too deeply.") from None
