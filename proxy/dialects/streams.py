"""How a dialect's streams look from outside: where their usage stands, and which event is their last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class StreamForm:
    """What tells the events that matter from the many that do not, by their bytes.

    usage_mark: stands in every event with usage (the reader looks closer). usage_path: where the usage is in such an
    event. end_mark: stands in the last event, whose `type` is one of `end_types`; without types it is `[DONE]`.
    """

    usage_mark: bytes
    usage_path: tuple[str, ...]
    end_mark: bytes
    end_types: frozenset[str] = frozenset()

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


CHAT = StreamForm(b"usage", ("usage",), b"[DONE]")
MESSAGES = StreamForm(b"usage", ("usage",), b"message_stop", frozenset({"message_stop"}))
RESPONSES = StreamForm(
    b"usage", ("response", "usage"), b'"usage"',
    frozenset({"response.completed", "response.incomplete", "response.failed"}),
)  # fmt: skip
# Gemini's streams end without saying so. Grounding is billed too, and stands in metadata of its own.
GEMINI = StreamForm(b'Metadata"', ("usageMetadata",), b"[DONE]")
# Images, transcripts and speech: an event of the type `….completed` or `….done` carries the usage, and is the last.
MEDIA = StreamForm(
    b"usage", ("usage",), b'"usage"',
    frozenset({"image_generation.completed", "image_edit.completed", "transcript.text.done", "speech.audio.done"}),
)  # fmt: skip
