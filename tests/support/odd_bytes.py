"""Recorded answers as bytes, and what servers, gateways and networks make of them.

Stands alone (no import of the product), so that it can be run against older commits too: see `tests/flow/odd_share.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent / "fixtures"
_ERROR = {"error": {"message": "upstream overloaded", "type": "server_error", "code": 503}}
# Where a string begins whose text may be damaged without touching what is counted.
_TEXT = (b'"content": "', b'"text": "', b'"delta": "', b'"reasoning_content": "')


class Recorded(NamedTuple):
    """One recorded answer. line: the fixture. streamed: `body` is a stream of events."""

    name: str
    line: dict[str, Any]
    body: bytes
    streamed: bool


class Odd(NamedTuple):
    """What became of an answer. kind: how. same: whether nothing that is counted was touched."""

    kind: str
    body: bytes
    same: bool


def recorded() -> Iterator[Recorded]:
    """The fixtures that are answers of their own, as their servers would send them (but for binary streams)."""
    for path in sorted(ROOT.glob("*/*/input.json")):
        line = json.loads(path.read_text())
        name = f"{path.parent.parent.name}/{path.parent.name}"
        if line["dialect"].startswith(("bedrock", "session", "ollama")):
            continue  # framed in another way
        if isinstance(line.get("events"), list):
            yield Recorded(name, line, sse(line["events"]), True)
        elif isinstance(line.get("response"), dict):
            yield Recorded(name, line, dump(line["response"]), False)


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def sse(events: list[Any]) -> bytes:
    return b"".join(b"data: " + (one.encode() if isinstance(one, str) else dump(one)) + b"\n\n" for one in events)


def mutations(one: Recorded) -> Iterator[Odd]:
    """What may come in place of `one`."""
    body = one.body
    yield Odd("as it was", body, True)
    yield Odd("byte order mark", b"\xef\xbb\xbf" + body, True)
    yield from _damaged(body)
    for share in (3, 6, 9):
        yield Odd(f"cut at {share * 10} %", body[: len(body) * share // 10], False)
    yield Odd("error in its place", sse([_ERROR]) if one.streamed else dump(_ERROR), False)
    yield from _of_stream(one) if one.streamed else _of_whole(one)


def _damaged(body: bytes) -> Iterator[Odd]:
    """Text that no string can hold, at the beginning of the first text; a number that JSON does not have."""
    at = min((found + len(mark) for mark in _TEXT if (found := body.find(mark)) >= 0), default=-1)
    if at >= 0:
        for kind, text in (
            ("half a surrogate", b"\\ud83d"),
            ("broken UTF-8", b"\xf0\x9f"),
            ("control character", b"\x07"),
        ):
            yield Odd(kind, body[:at] + text + body[at:], True)
    first = body.find(b"{") + 1
    if body[first : first + 1] != b"}":
        yield Odd("NaN", body[:first] + b'"logprob": NaN, ' + body[first:], True)


def _of_whole(one: Recorded) -> Iterator[Odd]:
    yield Odd("twice", one.body * 2, True)
    if not one.line["dialect"].endswith("batch"):  # lines of a file
        yield Odd("as the only event", b"data: " + one.body + b"\n\ndata: [DONE]\n\n", True)
    if "usage" in one.line["response"]:
        yield Odd("usage null", dump({**one.line["response"], "usage": None}), False)


def _of_stream(one: Recorded) -> Iterator[Odd]:
    events = [event for event in one.line["events"] if event != "[DONE]"]
    yield Odd("without blank lines", one.body.replace(b"\n\n", b"\n"), True)
    yield Odd("without its last event", sse(events[:-1]), False)
    yield Odd("with the error behind it", sse([*events, _ERROR]), True)
    yield Odd("its events twice", sse([event for event in events for _ in (0, 1)]), False)
    if len(events) > 2 and _is_content(events[1]):
        yield Odd("two of its chunks in another order", sse([events[1], events[0], *events[2:]]), False)


def _is_content(event: Any) -> bool:
    return isinstance(event, dict) and bool(event.get("choices")) and not event.get("usage")
