"""The fixtures under `tests/fixtures/`, read once, and the ways to feed one to a reader."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pricing.usage import Quantity, Reading
from proxy.meters import Context, reader
from proxy.meters.reader import Reader
from proxy.wire import aws_event_stream, ndjson, sse

ROOT = Path(__file__).parent.parent / "fixtures"

# Units that are not tokens: everything else in a fixture's usage adds up to its `tokens`.
THINGS = {
    "image", "video_second", "audio_second", "character", "page", "annotated_page", "search_unit", "text_message",
    "request", "gpu_second", "credit", "token_hour", "web_search", "file_search", "code_session", "x_search", "grounding",
    "grounding_maps", "classification", "web_fetch", "code_execution", "document_search", "people_search",
    "finance_search",
}  # fmt: skip
# Flags that prices raise, not readers.
PRICE_FLAGS = {"provider_cost_differs", "fallback_price", "assumed_price"}


@dataclass(frozen=True)
class Fixture:
    name: str
    line: dict[str, Any]
    expected: dict[str, Any]

    @property
    def reader(self) -> Reader:
        return reader(self.line["dialect"], self.line["provider"], self.line.get("endpoint", ""))

    @property
    def context(self) -> Context:
        line = self.line
        return Context(
            provider=line["provider"],
            endpoint=line.get("endpoint", ""),
            model=line["model"],
            request=line.get("request") or {},
            response_headers={name.lower(): value for name, value in (line.get("response_headers") or {}).items()},
            selector=line.get("selector") or {},
            service_tier=line.get("service_tier"),
        )

    @property
    def read_flags(self) -> list[str]:
        return [flag for flag in self.expected["flags"] if flag not in PRICE_FLAGS]

    def read(self) -> Reading:
        if "events" in self.line:
            stream = self.reader.stream(self.context)
            for event in self.line["events"]:
                stream.event(event)
            return stream.finish()
        if "response" in self.line:
            return self.reader.whole(self.line["response"], self.context)
        return self.reader.usage_only(self.line.get("usage"), self.context)


def load() -> list[Fixture]:
    """All fixtures but those that are no single response (`session`)."""
    found = []
    for path in sorted(ROOT.glob("*/*/input.json")):
        expected = json.loads((path.parent / "expected.json").read_text())
        found.append(Fixture(f"{path.parent.parent.name}/{path.parent.name}", json.loads(path.read_text()), expected))
    return found


def total_usage(reading: Reading) -> dict[str, Quantity]:
    """A reading's own usage and that of its parts, together."""
    usage = dict(reading.usage)
    for part in reading.parts:
        for unit, quantity in part.usage.items():
            usage[unit] = usage.get(unit, 0) + quantity
    return usage


def wire_bytes(fixture: Fixture, line_end: bytes = b"\n") -> bytes:
    """A stream fixture as its server would send it."""
    dialect, events = fixture.line["dialect"], fixture.line["events"]
    if dialect.startswith("bedrock.converse"):
        return b"".join(
            aws_event_stream.encode(name, orjson.dumps(body)) for event in events for name, body in event.items()
        )
    if dialect.startswith("bedrock.invoke"):
        wrapped = [event.get("chunk") or {"bytes": b64encode(orjson.dumps(event)).decode()} for event in events]
        return b"".join(aws_event_stream.encode("chunk", orjson.dumps(event)) for event in wrapped)
    payloads = [event.encode() if isinstance(event, str) else orjson.dumps(event) for event in events]
    if dialect.startswith("ollama"):
        return b"".join(payload + line_end for payload in payloads)
    return b"".join(b"data: " + payload + line_end * 2 for payload in payloads)


def payloads_of(fixture: Fixture, parts: Iterator[bytes]) -> Iterator[bytes]:
    """What the framer of the fixture's wire format makes of its bytes, however they are split."""
    dialect = fixture.line["dialect"]
    if dialect.startswith("bedrock"):
        aws = aws_event_stream.Framer()
        for part in parts:
            for message in aws.feed(part):
                yield message.json if message.event != "chunk" else b'{"chunk":%s}' % message.payload
        return
    framer: ndjson.Framer | sse.Framer = ndjson.Framer() if dialect.startswith("ollama") else sse.Framer()
    for part in parts:
        yield from framer.feed(part)
    yield from framer.close()


def read_wire(fixture: Fixture, parts: Iterator[bytes]) -> Reading:
    """Bytes to reading, the way the data plane does it: only events that the reader wants are parsed."""
    one = fixture.reader
    stream = one.stream(fixture.context)
    for payload in payloads_of(fixture, parts):
        if one.wants(payload) and payload != b"[DONE]":
            stream.event(orjson.loads(payload))
    return stream.finish()
