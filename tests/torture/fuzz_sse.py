"""Mutated event streams in random pieces: the product's framer against a model of the standard that knows nothing of pieces.

The model reads a whole stream at once, line by line, as https://html.spec.whatwg.org/multipage/server-sent-events.html
tells. It differs in two points, on purpose, as the product does: an event that its server never ended counts (a usage
may be in it), and a byte order mark is passed over before any event and not only before the first.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from proxy.exchange.gate import Phase, StreamGate
from proxy.meters import Context, reader
from proxy.wire.sse import Framer
from tests.support.gates import fed

_BOM = b"\xef\xbb\xbf"
_USAGE = b'"usage":{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40}'
_EVENTS = (
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}\n\n',
    b'data: {"id":"c","choices":[],' + _USAGE + b"}\n\n",
    b"data: [DONE]\n\n",
    b"data:[DONE]\n\n",
    b": keep-alive\n\n",
    b"retry: 3000\nid: 7\n\n",
    b'event: message_delta\ndata: {"type":"message_delta",' + _USAGE + b"}\n\n",
    b'data: {"choices":[],\ndata: ' + _USAGE + b"}\n\n",
    b'data: {"error":{"message":"no"}}\n\n',
    'data: {"text":"\u2028\u0085\u20ac\U0001f680"}\n\n'.encode(),
    b"data\n\n",
    b"data:\n\n",
)
_BITS = (
    b"\r", b"\n", b"\r\n", b"\n\n", b"\r\r", b"\n\r\n", b"data: ", b"data:", b"data", b":", b" ", b"{", b'"usage":{', b"}",
    b"\x00", _BOM, b"\xff", b"event: x\n", b'"error":', b"[DONE]", b"dat", b"[" * 40,
)  # fmt: skip


def model(stream: bytes) -> list[bytes]:
    """The payloads of a stream's events."""
    events: list[bytes] = []
    data: list[bytes] = []
    fresh = True  # between two events
    for raw in _lines(stream):
        line = raw.removeprefix(_BOM) if fresh else raw
        if not line:
            if data:
                events.append(b"\n".join(data))
            data, fresh = [], True
            continue
        fresh = False
        name, colon, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" ") if colon else b"")
    if data:
        events.append(b"\n".join(data))
    return events


def _lines(stream: bytes) -> list[bytes]:
    lines, line, at = [], bytearray(), 0
    while at < len(stream):
        byte = stream[at]
        at += 1
        if byte not in (10, 13):
            line.append(byte)
            continue
        if byte == 13 and at < len(stream) and stream[at] == 10:
            at += 1
        lines.append(bytes(line))
        line.clear()
    if line:
        lines.append(bytes(line))
    return lines


def mutated(rng: random.Random) -> bytes:
    """A few events, with a few things wrong."""
    stream = bytearray(b"".join(rng.choices(_EVENTS, k=rng.randint(1, 4))))
    if rng.random() < 0.2:
        stream = stream.replace(b"\n", rng.choice((b"\r\n", b"\r")))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(stream) + 1)
        what = rng.random()
        if what < 0.5:
            stream[at:at] = rng.choice(_BITS)
        elif what < 0.8:
            del stream[at : at + rng.randint(1, 12)]
        else:
            stream[at : at + 1] = bytes([rng.randrange(256)])
    return bytes(stream)


def pieces(rng: random.Random, stream: bytes) -> list[bytes]:
    if rng.random() < 0.1:
        return [stream[at : at + 1] for at in range(len(stream))]
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randint(0, 8)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) if a < b]


@dataclass
class Wrong:
    """What was wrong, each stream as its bytes and its pieces."""

    streams: int = 0
    events: list[list[bytes]] = field(default_factory=list)
    bytes_changed: list[list[bytes]] = field(default_factory=list)
    usage: list[list[bytes]] = field(default_factory=list)

    @property
    def none(self) -> bool:
        return not (self.events or self.bytes_changed or self.usage)


_CHAT = reader("openai.chat", "openai")
_CONTEXT = Context(provider="openai")


def _gate() -> StreamGate:
    return StreamGate(_CHAT, _CONTEXT, strip_usage=False)


def run(count: int, seed: int = 1) -> Wrong:
    """Whatever a stream is and however it is cut: the model's events, the same bytes, the same usage, no exception."""
    rng = random.Random(seed)
    wrong = Wrong()
    for _ in range(count):
        stream = mutated(rng)
        parts = pieces(rng, stream)
        framer = Framer()
        events = [event for part in parts for event in framer.feed(part)] + framer.close()
        if events != model(stream):
            wrong.events.append(parts)
        gate, whole = _gate(), _gate()
        passed = b"".join([fed(gate, part) for part in parts]) + gate.close()
        at_once = whole.feed(stream) + whole.close()
        if passed != at_once or not (passed == stream or (gate.phase is Phase.TORN and stream.startswith(passed))):
            wrong.bytes_changed.append(parts)
        if gate.watch.reading() != whole.watch.reading() or gate.watch.final != whole.watch.final:
            wrong.usage.append(parts)
        wrong.streams += 1
    return wrong
