"""What the dialects of spoken sessions (OpenAI's Realtime, Gemini's Live) have in common: how a session's messages are told of.

A dialect looks at messages as they pass, keeps what the next turn has to be bounded by, and says the few things that matter:
a turn is asked for, has begun, has ended, costs so much. It changes no message but where a model's name stands in it, does no
I/O and never sees money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple, Protocol

from pricing.values import frozen, slotted
from proxy.errors import Refusal


class Bound(NamedTuple):
    """What a turn may use at most, in tokens. text, audio, image: of its input. written None: whatever the model may write.
    silent: no sound comes out."""

    text: int
    audio: int = 0
    image: int = 0
    written: int | None = None
    silent: bool = False

    def covers(self, other: Bound) -> bool:
        if self.written is not None and (other.written is None or other.written > self.written):
            return False
        if self.silent and not other.silent:
            return False
        return self.text >= other.text and self.audio >= other.audio and self.image >= other.image

    def with_room(self, text: int, audio: int) -> Bound:
        return self._replace(text=self.text + text, audio=self.audio + audio)


# What a message of the client's means


@frozen
class Grown:
    """The input is beyond what was granted."""


@frozen
class Asks:
    """A turn is asked for, with that bound. name: our own for the request, which nobody else can know. message: what is passed
    on in its place, with that name in it."""

    bound: Bound
    name: str = ""
    message: bytes = b""


@frozen
class Names:
    """It names models beside the session's own, by their fields' places. `event` is the parsed message, to be written anew."""

    models: Mapping[tuple[str, ...], str]
    event: dict[str, Any]


@frozen
class Wrong:
    """It must not be passed on; why."""

    message: str
    param: str | None = None


# What a message of the server's means


@frozen
class Began:
    """A turn has begun."""

    turn: str


@frozen
class Done:
    """A turn has ended. events: all that say what it used. failed: without any work. seen: an estimate of what it used, where
    no event says."""

    turn: str
    events: tuple[Mapping[str, Any], ...] = ()
    failed: bool = False
    seen: Mapping[str, int] = field(default_factory=dict)


@frozen
class Transcribed:
    """Something beside the turns that another model did, by the client's name for it."""

    model: str
    event: Mapping[str, Any]


@frozen
class Declined:
    """Something that the client asked for was not done. name: of the request for a turn that it was; "": it may have been none.
    message: what the client is told in its place; b"": the server's own."""

    name: str = ""
    message: bytes = b""


@frozen
class Resumable:
    """Whoever has this handle can go on with the session."""

    handle: str


GROWN = Grown()
FromClient = Grown | Asks | Names | Wrong | None
FromServer = Began | Done | Transcribed | Declined | Resumable


class Talk(Protocol):
    """One session's messages. `cancels` are messages that end what the model is saying."""

    cancels: tuple[bytes, ...]

    def from_client(self, data: bytes) -> FromClient:
        """What a whole message of the client's means; None: it passes, and nothing follows from it."""
        ...

    def from_server(self, data: bytes) -> Sequence[FromServer]:
        """What a whole message of the server's means, in order; mostly nothing."""
        ...

    def bound(self) -> Bound:
        """What a turn that begins now may use at most."""
        ...

    def room(self) -> tuple[int, int]:
        """How much text and sound is worth being granted beyond the bound, in tokens."""
        ...

    def granted(self, bound: Bound | None) -> None:
        """`from_client` says `GROWN` once the input is beyond that; None: it need not."""
        ...

    def seen(self, turn: str) -> dict[str, int]:
        """An estimate of what a turn used whose end did not come."""
        ...

    def refused(self, refusal: Refusal) -> tuple[bytes, int, str]:
        """How a refusal is told: a message ("" for none), the code and the reason of the close that follows."""
        ...

    def declined(self, wrong: Wrong) -> bytes:
        """How the client is told that a message was not passed on; b"" where the dialect has no way: then it is over."""
        ...


@slotted
class Marks:
    """Where counters stood when a turn began."""

    text: int = 0
    sound: int = 0
    image: int = 0
    written_text: int = 0
    written_sound: int = 0
    input: Bound = field(default_factory=lambda: Bound(0))
