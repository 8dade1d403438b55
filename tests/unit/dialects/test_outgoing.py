"""A large body is written once, and its few changing fields as often as they change: always what was asked for last."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.dialects.outgoing import json_body

_TEXT = "é" * 40_000
BODIES: dict[str, dict[str, Any]] = {
    "nothing that changes": {"messages": [_TEXT]},
    "nothing that stays": {"max_tokens": 7, "generationConfig": {"text": _TEXT}},
    "nothing at all": {},
    "both": {"max_tokens": 7, "messages": [_TEXT], "seed": 1, "tools": []},
}
CHANGES: tuple[dict[str, Any], ...] = (
    {}, {"max_tokens": 5}, {"max_tokens": 5, "service_tier": "default"}, {"max_tokens": 7}, {"max_tokens": True}, {"seed": 1.0}, {},
)  # fmt: skip


@pytest.mark.parametrize("size", [100, 80_000])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_written_is_the_body_with_the_changes(body: dict[str, Any], size: int) -> None:
    outgoing = json_body(body, size)
    for changes in CHANGES:
        written = outgoing.written(changes)
        pairs = orjson.loads(written)
        wanted = {**body, **changes}
        assert pairs == wanted
        assert {name: type(value) for name, value in pairs.items()} == {
            name: type(value) for name, value in wanted.items()
        }
        assert sum(written.count(b'"%b":' % name.encode()) for name in wanted) == len(wanted)


def test_what_does_not_change_is_not_written_again() -> None:
    outgoing = json_body(BODIES["both"], 80_000)
    assert outgoing.written({}) is outgoing.written({})
    assert outgoing.written({"max_tokens": 5}) is outgoing.written({"max_tokens": 5})
