"""OpenAI's Realtime, as far as its messages decide what a turn may cost: responses asked for, settings, sound that goes in.

Sources, read November 2026: developers.openai.com/api/docs/guides/realtime-costs (a cost for each Response, of the whole
conversation; 1 token for 100 ms of a user's sound, 1 for 50 ms of the model's), openai SDK 3.54 `types/realtime/*` (events,
formats, `max_output_tokens`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from pricing.media.bounds import most
from proxy.bounded_table import BoundedTable
from proxy.dialects import fields
from proxy.dialects.attachments import of_url
from proxy.dialects.spoken import (
    GROWN,
    Asks,
    Began,
    Bound,
    Declined,
    Done,
    FromClient,
    FromServer,
    Marks,
    Names,
    Transcribed,
    Wrong,
)
from proxy.errors import Refusal, Refused
from proxy.meters.openai_realtime import TRANSCRIBED

_APPEND = (b'{"type":"input_audio_buffer.append"', b'{"type": "input_audio_buffer.append"')
_TYPE = re.compile(rb'"type"\s*:\s*"([^"]{1,100})"')
_TYPE_WITHIN = 512  # bytes from the beginning of a server's event
_SOUND_DELTAS = frozenset({b"response.output_audio.delta", b"response.audio.delta"})
_SERVER_EVENTS = frozenset({
    b"session.created", b"session.updated", b"transcription_session.updated", b"response.created", b"response.done", b"error",
    TRANSCRIBED.encode(),
})  # fmt: skip
_UPDATES = ("session.update", "transcription_session.update")
# Characters of base64 for a token of what goes in (100 ms), by format: PCM at 24 kHz, G.711 at 8 kHz.
_CHARACTERS = {
    "audio/pcm": 6400,
    "pcm16": 6400,
    "audio/pcmu": 1066,
    "audio/pcma": 1066,
    "g711_ulaw": 1066,
    "g711_alaw": 1066,
}
_FEWEST_CHARACTERS = 1066
_ROOM_TEXT, _ROOM_SOUND = 2048, 1200  # two minutes of sound
_UNKNOWN = 1 << 40  # only the model's context bounds it
_BYTES_PER_TOKEN = 4  # of text, in an estimate
_POLICY = 1008
_MOST_NAMES = 1000  # requests for a turn that no error has named
# Characters: OpenAI's own bound of an `event_id` (API reference, client events), so that what is remembered has one, too.
_LONGEST_NAME = 512


def _at(value: Mapping[str, Any], *path: str) -> Any:
    inner: Any = value
    for name in path:
        inner = inner.get(name) if isinstance(inner, dict) else None
    return inner


class Realtime:
    """One session. `requested` is the client's name of its model, `model` the provider's. new_name: what nobody can guess."""

    cancels: tuple[bytes, ...] = (b'{"type":"response.cancel"}',)

    def __init__(self, requested: str, provider: str, model: str, new_name: Callable[[], str]) -> None:
        self._requested, self._provider, self._model = requested, provider, model
        self._context = Bound(0)  # what the conversation came to at its last response
        self._text = self._sound = self._image = 0  # since then: bytes, characters of sound, tokens of pictures
        self._text_room = self._sound_room = _UNKNOWN
        self._granted: Bound | None = None
        self._written_text = self._written_sound = 0
        self._begun: dict[str, Marks] = {}
        self._cap: int | None = None
        self._silent = False
        self._updates = 0  # that the server has not answered
        self._odd = False  # some responses have an input of their own, which says nothing of the conversation's size
        self._unknown = False
        self._in_characters, self._out_characters = _CHARACTERS["audio/pcm"], _CHARACTERS["audio/pcm"] // 2
        self._transcriber = ""
        # An error names the message that it is about. A client may give the name of a request that runs to a message that is
        # wrong; so requests go by names of ours.
        self._new_name = new_name
        self._names: BoundedTable[str, Any] = BoundedTable(_MOST_NAMES)  # ours -> the client's own, or None

    # What the client sends

    def from_client(self, data: bytes) -> FromClient:
        if data.startswith(_APPEND) and data.find(b"\\") < 0 and data.find(b'"type"', 10) < 0:
            self._sound += len(data)
            return GROWN if self._sound > self._sound_room else None
        try:
            event = fields.parse_object(data)
        except Refused as refused:
            return Wrong(refused.refusal.message)
        kind = event.get("type")
        if kind in _UPDATES:
            self._text += len(data)
            return self._update(event) or self._dearer()
        if kind == "response.create":
            self._text += len(data)
            return self._asks(event)
        if kind == "input_audio_buffer.append":
            self._sound += len(data)
        elif kind == "conversation.item.create":
            self._item(event.get("item"), len(data))
        else:
            self._text += len(data)
        return self._grown()

    def _grown(self) -> FromClient:
        return GROWN if self._text > self._text_room or self._sound > self._sound_room else None

    def _dearer(self) -> FromClient:
        """After a change of settings: whether a turn may be more by now than what is granted."""
        granted = self._granted
        return GROWN if granted is not None and not granted.covers(self.bound()) else None

    def _item(self, item: Any, size: int) -> None:
        """A message with all that it holds: text by its bytes, sound by its length, pictures by their sizes."""
        self._text += size
        parts = item.get("content") if isinstance(item, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            if isinstance(sound := part.get("audio"), str):
                self._text -= len(sound)
                self._sound += len(sound)
            if "image_url" in part:
                url = part["image_url"]
                tokens = most(of_url("image", url, part.get("detail")), self._provider, self._model)
                self._unknown = self._unknown or tokens is None
                if tokens is not None:
                    self._image += tokens.tokens
                    self._text -= len(url) if isinstance(url, str) else 0

    def _asks(self, event: dict[str, Any]) -> Asks | Wrong:
        response = event.get("response")
        response = response if isinstance(response, dict) else {}
        if response.get("input") is not None or response.get("conversation") not in (None, "auto"):
            self._odd = True
            for item in response["input"] if isinstance(response.get("input"), list) else ():
                self._item(item, 0)
        if response.get("prompt") is not None:
            return _of_the_account("response.prompt")
        bound = self.bound()
        if (cap := _cap_in(response)) is not _UNSAID:
            bound = bound._replace(written=cap)
        if (spoken := _speaks(response)) is not None:
            bound = bound._replace(silent=not spoken)
        named = event.get("event_id")
        if named is not None and not (isinstance(named, str) and len(named) <= _LONGEST_NAME):
            return Wrong(f"`event_id` must be text of at most {_LONGEST_NAME} characters.", "event_id")
        name = self._new_name()
        self._names[name] = named
        event["event_id"] = name
        return Asks(bound, name, orjson.dumps(event))

    def _update(self, event: dict[str, Any]) -> FromClient:
        session = event.get("session")
        if not isinstance(session, dict):
            return None
        if session.get("prompt") is not None:
            return _of_the_account("session.prompt")
        self._updates += 1
        self._follow(session, exactly=False)
        names: dict[tuple[str, ...], str] = {}
        model = session.get("model")
        if model is not None and model not in (self._requested, self._model):
            return Wrong("A session's model cannot be changed; open another session.", "session.model")
        if model == self._requested and model != self._model:
            session["model"] = self._model
            names[()] = model
        for path in (("audio", "input", "transcription"), ("input_audio_transcription",)):
            if isinstance(named := _at(session, *path, "model"), str):
                names["session", *path, "model"] = self._transcriber = named
        return Names(names, event) if names else None

    # What the server sends

    def from_server(self, data: bytes) -> Sequence[FromServer]:
        match = _TYPE.search(data, 0, _TYPE_WITHIN)
        kind = b"" if match is None else match[1]
        if kind.endswith(b".delta"):
            if kind in _SOUND_DELTAS:
                self._written_sound += len(data)
            else:
                self._written_text += 1
            return ()
        if b"." in kind and kind not in _SERVER_EVENTS:  # without a dot it is the type of something inside
            return ()
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            return ()
        message = self._event_of(event) if isinstance(event, dict) else None
        return () if message is None else (message,)

    def _event_of(self, event: Mapping[str, Any]) -> FromServer | None:
        kind = event.get("type")
        if kind == "response.created":
            name = str(_at(event, "response", "id"))
            self._begun[name] = Marks(
                self._text, self._sound, self._image, self._written_text, self._written_sound, self.bound()
            )
            return Began(name)
        if kind == "response.done":
            return self._done(event)
        if kind == TRANSCRIBED:
            return Transcribed(self._transcriber, event)
        if kind == "error":
            return self._declined(event)
        if kind in ("session.created", "session.updated", "transcription_session.updated"):
            if kind != "session.created":
                self._updates = max(0, self._updates - 1)
            session = event.get("session")
            if isinstance(session, dict):
                self._follow(session, exactly=not self._updates)
        return None

    def _declined(self, event: Mapping[str, Any]) -> Declined | None:
        error = event.get("error")
        name = _at(event, "error", "event_id")
        if not isinstance(error, dict) or not name:
            return Declined()
        if not isinstance(name, str) or name not in self._names:
            return None  # of another message than a request
        named = self._names.pop(name)
        return Declined(name, orjson.dumps({**event, "error": {**error, "event_id": named}}))

    def _done(self, event: Mapping[str, Any]) -> Done:
        response = event.get("response")
        response = response if isinstance(response, dict) else {}
        name = str(response.get("id"))
        marks = self._begun.pop(name, None)
        usage = response.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        has_usage = isinstance(usage.get("input_tokens"), int)
        if has_usage and marks is not None and not self._odd and response.get("conversation_id") is not None:
            self._context = _context_of(usage)
            self._text, self._sound = self._text - marks.text, self._sound - marks.sound
            self._image -= marks.image
            self._unknown = False
            for other in self._begun.values():
                other.text, other.sound, other.image = other.text - marks.text, other.sound - marks.sound, 0
        elif has_usage:  # never less, since nothing else states what the model has said
            context_before, now = self._context, _context_of(usage)
            self._context = Bound(
                max(context_before.text, now.text),
                max(context_before.audio, now.audio),
                max(context_before.image, now.image),
            )
        wrote = marks is None or (self._written_text, self._written_sound) != (marks.written_text, marks.written_sound)
        failed = not has_usage and response.get("status") == "failed" and not wrote
        if has_usage or failed:
            return Done(name, (event,) if has_usage else (), failed=failed)
        return Done(name, seen=self._estimate(marks))

    def _follow(self, session: Mapping[str, Any], *, exactly: bool) -> None:
        """What the session is set to; not exactly: only what makes a turn larger."""
        cap = _cap_in(session)
        if cap is not _UNSAID and (exactly or cap is None or (self._cap is not None and cap > self._cap)):
            self._cap = cap
        spoken = _speaks(session)
        if spoken is not None and (exactly or spoken):
            self._silent = not spoken
        taken = _at(session, "audio", "input", "format", "type") or session.get("input_audio_format")
        if taken is not None:
            characters = _CHARACTERS.get(str(taken), _FEWEST_CHARACTERS)
            self._in_characters = characters if exactly else min(characters, self._in_characters)
        sound_format = _at(session, "audio", "output", "format", "type") or session.get("output_audio_format")
        if sound_format is not None and exactly:
            self._out_characters = _CHARACTERS.get(str(sound_format), _CHARACTERS["audio/pcm"]) // 2

    # What follows from it

    def bound(self) -> Bound:
        context = self._context
        sound = -(-self._sound // self._in_characters) * (2 if self._transcriber else 1)
        text = _UNKNOWN if self._unknown else context.text + max(self._text, 0)
        return Bound(text, context.audio + sound, context.image + self._image, self._cap, self._silent)

    def room(self) -> tuple[int, int]:
        return _ROOM_TEXT, _ROOM_SOUND if self._sound else 0

    def granted(self, bound: Bound | None) -> None:
        self._granted = bound
        if bound is None:
            self._text_room = self._sound_room = _UNKNOWN
            return
        self._text_room = max(bound.text - self._context.text, 0)
        tokens = max(bound.audio - self._context.audio, 0) // (2 if self._transcriber else 1)
        self._sound_room = tokens * self._in_characters

    def seen(self, turn: str) -> dict[str, int]:
        return self._estimate(self._begun.get(turn))

    def _estimate(self, marks: Marks | None) -> dict[str, int]:
        """marks: None for a turn that has not begun."""
        if marks is None:
            written = (self._written_text, self._written_sound)
            marks = Marks(self._text, self._sound, self._image, *written, self.bound())
        text = self._context.text + max(marks.text, 0) // _BYTES_PER_TOKEN
        usage = {
            "input": text,
            "audio_in": marks.input.audio,
            "image_in": marks.input.image,
            "output": self._written_text - marks.written_text,
            "audio_out": (self._written_sound - marks.written_sound) // self._out_characters,
        }
        return {unit: count for unit, count in usage.items() if count > 0}

    def refused(self, refusal: Refusal) -> tuple[bytes, int, str]:
        error = {"type": refusal.kind, "code": refusal.code, "message": refusal.message, "param": refusal.param}
        event = {"type": "error", "event_id": "event_taximeter", "error": {**error, "event_id": None, **refusal.detail}}
        return orjson.dumps(event), _POLICY, refusal.code

    def declined(self, wrong: Wrong) -> bytes:
        error = {"type": "invalid_request_error", "code": "invalid_request_error", "message": wrong.message}
        event = {
            "type": "error",
            "event_id": "event_taximeter",
            "error": {**error, "param": wrong.param, "event_id": None},
        }
        return orjson.dumps(event)


def _of_the_account(param: str) -> Wrong:
    return Wrong("Stored prompts are the account's, and no team's; send the instructions themselves.", param)


_UNSAID = -1


def _cap_in(settings: Mapping[str, Any]) -> int | None:
    """The cap on a response's output: None: none (`inf`, or what we do not understand), `_UNSAID` where nothing is said.

    Of the names of both versions of the API: which one the server reads, nobody here knows.
    """
    stated = [settings.get(name) for name in ("max_output_tokens", "max_response_output_tokens")]
    caps = [value if type(value) is int and value > 0 else None for value in stated if value is not None]
    return _UNSAID if not caps else None if None in caps else max(cap for cap in caps if cap is not None)


def _speaks(settings: Mapping[str, Any]) -> bool | None:
    """Whether sound comes out; None where nothing is said."""
    kinds = [kinds for name in ("output_modalities", "modalities") if (kinds := settings.get(name)) is not None]
    return any(kind != ["text"] for kind in kinds) if kinds else None


def _context_of(usage: Mapping[str, Any]) -> Bound:
    """What a conversation comes to once the response with this usage has joined it."""

    def count(*path: str) -> int:
        value = _at(usage, *path)
        return value if type(value) is int and value > 0 else 0

    sound = count("input_token_details", "audio_tokens") + count("output_token_details", "audio_tokens")
    image = count("input_token_details", "image_tokens")
    whole = count("input_tokens") + count("output_tokens")
    return Bound(max(whole - sound - image, 0), sound, image)
