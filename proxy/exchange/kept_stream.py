"""The beginning of a stream, for counting what it says, and for knowing its answer again.

Nearly all events of nearly every stream are alike but for one text (and for what hides how long that is): then only these are
held, a twentieth of their bytes, and what there is to find in such an event was looked for once, in the first of them.
"""

from __future__ import annotations

from proxy.exchange.alike import Alike, alike, are_whole, odd_text

MOST_BYTES = 1024 * 1024

_TRIES = 5  # for streams whose events differ in more


class KeptStream:
    """The first megabyte. taken: how many events `took` knew."""

    __slots__ = (
        "_added", "_alike", "_beyond", "_head", "_parts", "_room", "_several", "_tail", "_texts", "_tries", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.taken = 0
        self._room = MOST_BYTES
        self._added = self._beyond = 0  # bytes that `add` kept; that `took` knew and did not keep
        # Bytes as they came, or values of events that are alike. Each in one piece: thousands of small ones would leave holes.
        self._parts: list[tuple[Alike | None, bytearray]] = []
        self._texts: bytearray | None = None  # the last part, where it is of such events
        self._tries = _TRIES
        self._alike: Alike | None = None
        self._head = self._tail = b""  # of it; while there is none, nothing can be taken off in front
        self._several = False  # whether it has more values than the text

    @property
    def size(self) -> int:
        """How much of the stream this is, which is not how much is held."""
        return MOST_BYTES - self._room

    @property
    def taken_bytes(self) -> int:
        return self.size - self._added + self._beyond

    def took(self, data: bytes) -> bool:
        """Keep another event like those before it; whether it is one, and nothing else is in it but its text. `data` begins
        where an event does."""
        rest = data.removeprefix(self._head)
        if rest is data:  # bytes that lack it: no copy is made, and no call is needed to compare their lengths
            return False
        line = rest.removesuffix(self._tail)
        if line is rest:
            return False
        if self._several or odd_text(line) is not None:
            values = self._alike.line(line) if self._alike is not None else None
            if values is None:
                return False
            line = values
        self.taken += 1
        room = self._room
        if room > 0:
            self._room = room - len(data)
            texts = self._texts
            if texts is None:
                texts = self._begin()
            texts += line + b"\n"
        else:
            self._beyond += len(data)
        return True

    def add(self, data: bytes) -> None:
        """Keep what came, whatever it is."""
        if self._room <= 0:
            return
        self._room -= len(data)
        self._added += len(data)
        if self._alike is not None and (lines := self._alike.lines(data)) is not None:
            held = self._begin() if self._texts is None else self._texts
            held += lines
            return
        if self._texts is not None or not self._parts:
            self._parts.append((None, bytearray()))
            self._texts = None
        held = self._parts[-1][1]
        held += data

    def look_at(self, event: bytes) -> None:
        """`event` is an answer's, and nothing else: those behind it may be like it."""
        if event.startswith(b":"):
            return  # a comment; some servers send many before the first word
        if self._alike is not None and self._alike.lines(event) is not None:
            return
        if self._texts is not None and self._texts[:4096].count(b"\n") > _TRIES:
            self._tries = _TRIES  # it was worth it
        if self._tries:
            self._tries -= 1
            if (like := alike(event)) is not None:
                self._alike, self._texts = like, None
                self._head, self._tail, self._several = like.head, like.tail, len(like.kinds) > 1

    def _begin(self) -> bytearray:
        texts = self._texts = bytearray()
        self._parts.append((self._alike, texts))
        return texts

    def __bytes__(self) -> bytes:
        """What was kept, as it came."""
        return b"".join([held if like is None else like.whole(held) for like, held in self._parts])

    def condensed(self) -> bytes | None:
        """The same, with one event in place of neighbours that are alike, which says the texts of all; None where a text is not
        whole by itself."""
        parts: list[bytes | bytearray] = []
        for like, held in self._parts:
            if like is None:
                parts.append(held)
                continue
            texts, others = like.texts(held)
            if not are_whole(texts):
                return None
            parts.append(like.event(texts.replace(b"\n", b""), others))
        return b"".join(parts)
