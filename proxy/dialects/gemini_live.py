"""Gemini's Live (`BidiGenerateContent`), as far as its messages decide what a turn may cost: set-up, and what goes in.

Usage is told turn by turn, not for the session so far: pydantic/pydantic-ai#7269 (probe of August 2026: three turns on each
model that was served then; each turn's prompt is the session so far, its response that turn's alone). Within a turn it may be
told more than once, and then grows. Shapes: google-genai 3.4 `types.LiveClientMessage`, `LiveServerMessage`; its SDK writes
`realtime_input`, others `realtimeInput`. ai.google.dev/gemini-api/docs/live: sound comes in at 16 kHz, 25 to 32 tokens each
second, and goes out at 24 kHz. How Google ends a session for a quota: close 1011 (a client of it: sohzm/cheating-daddy#458).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from pricing.media.bounds import Medium, most
from proxy.dialects import fields, gemini
from proxy.dialects.references import squashed
from proxy.dialects.spoken import GROWN, Began, Bound, Done, FromClient, FromServer, Marks, Resumable, Wrong
from proxy.errors import Refusal, Refused, invalid_request, stored_not_found
from proxy.types import Call

# Sound, and nothing else: the bytes before and behind its base64. Six strings, no more.
_SOUND_HEAD = re.compile(
    rb'\{\s*"realtime(?:Input|_input)"\s*:\s*\{\s*"(?:audio|mediaChunks|media_chunks)"\s*:\s*\[?\s*\{\s*'
    rb'(?:"mime(?:Type|_type)"\s*:\s*"audio/pcm[^"]{0,40}"\s*,\s*)?"data"\s*:\s*"'
)
_SOUND_TAIL = re.compile(rb'"\s*(?:,\s*"mime(?:Type|_type)"\s*:\s*"audio/pcm[^"]{0,40}"\s*)?\}\s*\]?\s*\}\s*\}\s*\Z')
_TAIL_BYTES = 120
_SOUND_QUOTES = 12

# Characters of base64 for a token of what goes in, at 8 kHz and 32 tokens a second: no less comes as PCM.
_IN_CHARACTERS = 667
_OUT_CHARACTERS = 2000  # at 24 kHz and 32 a second
_FRAME_TOKENS = 1120  # of a picture whose size cannot be read
_ROOM_TEXT, _ROOM_SOUND = 2048, 3840  # two minutes of sound
_UNKNOWN = 1 << 40
_BYTES_PER_TOKEN = 4

_TELLING = (b'"usageMetadata"', b'"turnComplete"', b'"groundingMetadata"', b'"sessionResumptionUpdate"')
_COMPLETE: Mapping[str, Any] = {"serverContent": {"turnComplete": True}}
_SAYING = ("modelTurn", "outputTranscription", "generationComplete", "interrupted")


class Setup(NamedTuple):
    """The first message. call: what each turn of the session is, as far as the set-up says. message: to be written anew for
    another name of the model. handle: of the session that it goes on with. unknown: something is in the session already whose
    size nothing says."""

    model: str
    call: Call
    message: dict[str, Any]
    cap: int | None
    silent: bool
    unknown: bool
    size: int
    handle: str = ""

    def written(self, raw: bytes, model: str) -> bytes:
        """The message with the provider's name of the model; unchanged where the client's name is the same."""
        if self.model == model:
            return raw
        return orjson.dumps({**self.message, "setup": {**self.message["setup"], "model": f"models/{model}"}})


def parse_setup(raw: bytes) -> Setup:
    """Raises `Refused` (400) for what is none, and for fields that a call would be refused for."""
    message = fields.parse_object(raw)
    setup = message.get("setup")
    if set(message) != {"setup"} or not isinstance(setup, dict):
        raise invalid_request("The first message must be the `setup`.", "setup")
    model = setup.get("model")
    if not isinstance(model, str) or not (name := model.removeprefix("models/")):
        raise invalid_request("`setup.model` must name a model.", "setup.model")
    handle = _handle_in(setup)
    body = {field: value for field, value in setup.items() if field != "model"}
    call = gemini.parse_generate(name, True, orjson.dumps({**body, "contents": [{"parts": []}]}))
    if call.held:  # a session takes none, and its owner was not checked here
        raise stored_not_found("cachedContent")
    kinds = (call.body.get("generationConfig") or {}).get("responseModalities")
    return Setup(
        model=name,
        call=call._replace(
            dialect="gemini.live", operation="realtime", body={}, size_bytes=0, media=(), media_items=0, prompts=0
        ),
        message=message,
        cap=max(call.output_caps, default=None),
        silent=isinstance(kinds, list) and [str(kind).upper() for kind in kinds] == ["TEXT"],
        unknown=call.media_items > 0 or bool(handle),
        size=len(raw),
        handle=handle,
    )


def _handle_in(setup: Mapping[str, Any]) -> str:
    """The handle of the session to resume; "" for a new one. Raises `Refused` (400) where that is not clear."""
    stated = [setup[name] for name in ("sessionResumption", "session_resumption") if setup.get(name) is not None]
    if len(stated) > 1 or not all(isinstance(one, dict) for one in stated):
        raise invalid_request("`sessionResumption` must be one object.", "setup.sessionResumption")
    handle = stated[0].get("handle") if stated else None
    if not isinstance(handle, str | None):
        raise invalid_request("`sessionResumption.handle` must be text.", "setup.sessionResumption.handle")
    return handle or ""


class GeminiLive:
    """One session."""

    cancels: tuple[bytes, ...] = ()

    def __init__(self, setup: Setup, provider: str, model: str) -> None:
        self._provider, self._model = provider, model
        self._cap, self._silent = setup.cap, setup.silent
        self._context = Bound(0)  # what the session came to at its last turn
        self._text, self._sound, self._image = setup.size, 0, 0  # since then: bytes, characters, tokens
        self._text_room = self._sound_room = _UNKNOWN
        self._unknown = setup.unknown
        self._written_text = self._written_sound = 0
        self._turns = 0
        self._events: list[Mapping[str, Any]] = []
        self._marks: Marks | None = None  # of the turn that is under way
        self._complete = False  # it is over; only its usage is missing

    # What the client sends

    def from_client(self, data: bytes) -> FromClient:
        if _is_sound(data):
            self._sound += len(data)
            return GROWN if self._sound > self._sound_room else None
        try:
            message = fields.parse_object(data)
        except Refused as refused:
            return Wrong(refused.refusal.message)
        if "setup" in message:
            return Wrong("A session is set up once.", "setup")
        self._text += len(data)
        blobs: list[tuple[str, str]] = []
        if _find_blobs(message, blobs):
            return Wrong("A session takes no stored files; send what is in them.", "fileData")
        for mime, blob in blobs:
            self._text -= len(blob)
            self._take(mime.lower(), blob)
        return GROWN if self._text > self._text_room or self._sound > self._sound_room else None

    def _take(self, mime: str, blob: str) -> None:
        if mime.startswith("audio/pcm"):
            self._sound += len(blob)
            return
        kind = mime.partition("/")[0]
        bound = most(Medium(kind, blob), self._provider, self._model) if kind in ("image", "audio", "video") else None
        if bound is not None:
            self._image += bound.tokens
        elif kind == "image":
            self._image += _FRAME_TOKENS
        else:
            self._unknown = True

    # What the server sends

    def from_server(self, data: bytes) -> Sequence[FromServer]:
        if self._marks is not None and not self._complete and not any(mark in data for mark in _TELLING):
            if b'"inlineData"' in data:
                self._written_sound += len(data)
            else:
                self._written_text += len(data)
            return ()
        try:
            message = orjson.loads(data)
        except orjson.JSONDecodeError:
            return ()
        return self._events_of(message, len(data)) if isinstance(message, dict) else ()

    def _events_of(self, message: Mapping[str, Any], size: int) -> Sequence[FromServer]:
        content = message.get("serverContent")
        content = content if isinstance(content, dict) else {}
        events: list[FromServer] = []
        says = "toolCall" in message or any(name in content for name in _SAYING)
        if says and self._complete:
            events.append(self._ends())
        if self._marks is None and (says or content.get("turnComplete")):
            self._turns += 1
            self._marks = Marks(
                self._text, self._sound, self._image, self._written_text, self._written_sound, self.bound()
            )
            events.append(Began(str(self._turns)))
        if says:
            self._written_sound += size if "modelTurn" in content else 0
        update = message.get("sessionResumptionUpdate")
        if isinstance(update, dict) and isinstance(handle := update.get("newHandle"), str) and handle:
            events.append(Resumable(handle))
        usage = message.get("usageMetadata")
        if self._marks is None:
            return events
        if usage or "groundingMetadata" in content:
            self._events.append(_billed(message, content))
        if content.get("turnComplete"):
            self._complete = True
        if self._complete and any("usageMetadata" in event for event in self._events):
            events.append(self._ends())
        return events

    def _ends(self) -> Done:
        marks, events = self._marks, tuple(self._events)
        assert marks is not None
        seen = self.seen(str(self._turns))
        self._marks, self._events, self._complete = None, [], False
        if (
            usage := next((event["usageMetadata"] for event in reversed(events) if "usageMetadata" in event), None)
        ) is not None:
            self._context = _context_of(usage)
            self._text, self._sound, self._image = (
                self._text - marks.text,
                self._sound - marks.sound,
                self._image - marks.image,
            )
            self._unknown = False
        name = str(self._turns)
        return Done(name, seen=seen) if usage is None else Done(name, (*events, _COMPLETE))

    # What follows from it

    def bound(self) -> Bound:
        context = self._context
        text = _UNKNOWN if self._unknown else context.text + max(self._text, 0)
        sound = -(-self._sound // _IN_CHARACTERS)
        return Bound(text, context.audio + sound, context.image + self._image, self._cap, self._silent)

    def room(self) -> tuple[int, int]:
        return _ROOM_TEXT, _ROOM_SOUND if self._sound else 0

    def granted(self, bound: Bound | None) -> None:
        if bound is None:
            self._text_room = self._sound_room = _UNKNOWN
            return
        self._text_room = max(bound.text - self._context.text, 0)
        self._sound_room = max(bound.audio - self._context.audio, 0) * _IN_CHARACTERS

    def seen(self, turn: str) -> dict[str, int]:
        """Half the most that sound can be: PCM comes at 16 kHz, and is counted as 8."""
        marks = self._marks or Marks(
            self._text, self._sound, self._image, self._written_text, self._written_sound, self.bound()
        )
        usage = {
            "input": self._context.text + max(marks.text, 0) // _BYTES_PER_TOKEN,
            "audio_in": self._context.audio + marks.sound // (2 * _IN_CHARACTERS),
            "image_in": marks.input.image,
            "output": (self._written_text - marks.written_text) // _BYTES_PER_TOKEN // 8,  # an envelope round each word
            "audio_out": (self._written_sound - marks.written_sound) // _OUT_CHARACTERS,
        }
        return {unit: count for unit, count in usage.items() if count > 0}

    def refused(self, refusal: Refusal) -> tuple[bytes, int, str]:
        return b"", *close_of(refusal)

    def declined(self, wrong: Wrong) -> bytes:
        return b""


def close_of(refusal: Refusal) -> tuple[int, str]:
    """How Google ends a session: a code, and what is wrong as its reason."""
    status = gemini.status_of(refusal)
    code = {"INVALID_ARGUMENT": 1007, "RESOURCE_EXHAUSTED": 1011, "UNAVAILABLE": 1011, "DEADLINE_EXCEEDED": 1011}
    return code.get(status, 1008), f"{status}: {refusal.code}: {refusal.message}"


def _is_sound(data: bytes) -> bool:
    """Whether a message holds a piece of sound and nothing that could be anything else."""
    head = _SOUND_HEAD.match(data)
    if head is None or data.count(b'"') != _SOUND_QUOTES or data.find(b"\\") >= 0:
        return False
    return _SOUND_TAIL.search(data, max(len(data) - _TAIL_BYTES, head.end())) is not None


_MEDIA = frozenset({"inlineData", "inline_data", "audio", "video", "mediaChunks", "media_chunks"})


def _find_blobs(message: Mapping[str, Any], blobs: list[tuple[str, str]]) -> bool:
    """All data of media: their MIME types and base64; whether there are files beside, stored at Google or elsewhere: whose and
    how long they are nobody here knows. What a function answers is text, whatever it looks like."""
    stack: list[tuple[str, Any]] = list(message.items())
    while stack:
        name, inner = stack.pop()
        if squashed(name) == "filedata" and inner:
            return True
        if isinstance(inner, list):
            stack += [(name, one) for one in inner]
        elif isinstance(inner, dict):
            mime, data = inner.get("mimeType", inner.get("mime_type")), inner.get("data")
            if name in _MEDIA and isinstance(mime, str) and isinstance(data, str):
                blobs.append((mime, data))
            stack += [(key, one) for key, one in inner.items() if key != "response" and isinstance(one, (dict, list))]
    return False


def _billed(message: Mapping[str, Any], content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a message that is billed; nothing of what was said is kept."""
    billed: dict[str, Any] = {}
    if usage := message.get("usageMetadata"):
        billed["usageMetadata"] = usage
    if "groundingMetadata" in content:
        billed["serverContent"] = {"groundingMetadata": content["groundingMetadata"]}
    return billed


def _context_of(usage: Any) -> Bound:
    """What a session comes to once the turn with this usage is part of it."""
    if not isinstance(usage, dict):
        return Bound(_UNKNOWN)

    def count(*names: str) -> int:
        return max((value for name in names if type(value := usage.get(name)) is int and value > 0), default=0)

    def of(kind: tuple[str, ...]) -> int:
        details = [*(usage.get("promptTokensDetails") or ()), *(usage.get("responseTokensDetails") or ())]
        counts = [one.get("tokenCount") for one in details if isinstance(one, dict) and one.get("modality") in kind]
        return sum(one for one in counts if type(one) is int and one > 0)

    whole = max(
        count("totalTokenCount"), count("promptTokenCount") + count("responseTokenCount", "candidatesTokenCount")
    )
    sound, image = of(("AUDIO",)), of(("IMAGE", "VIDEO", "DOCUMENT"))
    return Bound(max(whole - sound - image, 0), sound, image)
