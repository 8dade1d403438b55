"""How a dialect's streams look from outside: where their usage stands, and which event is their last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class StreamForm:
    """What tells the events that matter from the many that do not, by their bytes.

    usage_mark: stands in every event with usage (the reader looks closer). usage_path: where the usage is in such an
    event. end_mark: stands in the last event, whose `type` is one of `end_types`; without types it is `[DONE]`.
    must_end: every server of this dialect sends that event. is_final: whether a usage is the call's, and not only what
    it had come to by then, by the event that it stands in.
    """

    usage_mark: bytes
    usage_path: tuple[str, ...]
    end_mark: bytes
    end_types: frozenset[str] = frozenset()
    must_end: bool = False
    is_final: Callable[[Mapping[str, Any]], bool] = lambda event: True

    def is_end(self, payload: bytes | None) -> bool:
        """Whether an event with this payload is the last."""
        if not self.end_types or payload is None:
            return payload == b"[DONE]"
        event = orjson.loads(payload)
        return isinstance(event, dict) and event.get("type") in self.end_types

    def usage_of(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """The usage object in an event, or None."""
        value: Any = event
        for name in self.usage_path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else None


def _chat_is_final(event: Mapping[str, Any]) -> bool:
    return not event.get("choices")


def _message_is_final(event: Mapping[str, Any]) -> bool:
    return event.get("type") == "message_delta"


def _gemini_is_final(event: Mapping[str, Any]) -> bool:
    candidates = event.get("candidates")
    ends = [bool(one.get("finishReason")) for one in candidates or () if isinstance(one, dict)]
    return all(ends) if ends else not candidates


CHAT = StreamForm(b"usage", ("usage",), b"[DONE]", is_final=_chat_is_final)
MESSAGES = StreamForm(
    b"usage", ("usage",), b"message_stop", frozenset({"message_stop"}), must_end=True, is_final=_message_is_final
)
RESPONSES = StreamForm(
    b"usage", ("response", "usage"), b'"usage"',
    frozenset({"response.completed", "response.incomplete", "response.failed"}), must_end=True,
)  # fmt: skip
# Gemini's streams end without saying so. Grounding is billed too, and stands in metadata of its own.
GEMINI = StreamForm(b'Metadata"', ("usageMetadata",), b"[DONE]", is_final=_gemini_is_final)
# Images, transcripts and speech: an event of the type `….completed` or `….done` carries the usage, and is the last.
MEDIA = StreamForm(
    b"usage", ("usage",), b'"usage"',
    frozenset({"image_generation.completed", "image_edit.completed", "transcript.text.done", "speech.audio.done"}),
)  # fmt: skip
