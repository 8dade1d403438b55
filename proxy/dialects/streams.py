"""How a dialect's streams look from outside: where their usage stands, and which event is their last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pricing.values import frozen
from proxy.meters.bedrock import METRICS, PICTURES


@frozen
class StreamForm:
    """What tells the events that matter from the many that do not, by their bytes.

    usage_mark: stands in every event with usage (the reader looks closer). usage_path: where the usage is in such an
    event. end_mark: stands in the last event, whose `type` is one of `end_types`; `[DONE]` ends the streams of every
    dialect. must_end: every server of this dialect sends that event. is_final: whether a usage is the call's, and not only
    what it had come to by then, by the event that it stands in. finished: whether the answer is whole with these events,
    though the last one, or the usage, may be missing.
    """

    usage_mark: bytes
    usage_path: tuple[str, ...]
    end_mark: bytes
    end_types: frozenset[str] = frozenset()
    must_end: bool = False
    is_final: Callable[[Mapping[str, Any]], bool] = lambda event: True
    finished: Callable[[Iterable[Mapping[str, Any]]], bool] = lambda events: False
    framed: bool = False

    def is_end(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is the last."""
        return event.get("type") in self.end_types

    def usage_of(self, event: Mapping[str, Any]) -> dict[str, Any] | None:
        """The usage object in an event, or None. Some chat servers put it into the choice, Groq into a field of its own."""
        value: Any = event
        for name in self.usage_path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is None and isinstance(choices := event.get("choices"), list) and choices:
            value = choices[0].get("usage") if isinstance(choices[0], dict) else None
        if value is None and isinstance(own := event.get("x_groq"), dict):
            value = own.get("usage")
        if value is None and event.get("object") == "response":  # a whole one, from who cannot stream
            value = event.get("usage")
        return value if isinstance(value, dict) else None


def _chat_is_final(event: Mapping[str, Any]) -> bool:
    choices = event.get("choices")
    if not choices:
        return True
    return all(isinstance(one, dict) and bool(one.get("usage")) and bool(one.get("finish_reason")) for one in choices)


def _message_is_final(event: Mapping[str, Any]) -> bool:
    return event.get("type") == "message_delta"


def _message_finished(events: Iterable[Mapping[str, Any]]) -> bool:
    deltas = (event.get("delta") for event in events if event.get("type") == "message_delta")
    return any(isinstance(delta, dict) and bool(delta.get("stop_reason")) for delta in deltas)


def _all_finished(events: Iterable[Mapping[str, Any]], pieces: str, reason: str) -> bool:
    """Whether each sequence that was begun has its reason to end."""
    begun, ended = set(), set()
    for event in events:
        for piece in event.get(pieces) or ():
            if isinstance(piece, dict):
                begun.add(str(piece.get("index")))
                if piece.get(reason):
                    ended.add(str(piece.get("index")))
    return bool(begun) and begun == ended


def _chat_finished(events: Iterable[Mapping[str, Any]]) -> bool:
    return _all_finished(events, "choices", "finish_reason")


_RESPONSE_ENDS = ("completed", "incomplete", "failed", "cancelled")


def _response_finished(events: Iterable[Mapping[str, Any]]) -> bool:
    return any(event.get("object") == "response" and event.get("status") in _RESPONSE_ENDS for event in events)


def _gemini_finished(events: Iterable[Mapping[str, Any]]) -> bool:
    return _all_finished(events, "candidates", "finishReason")


def _gemini_is_final(event: Mapping[str, Any]) -> bool:
    candidates = event.get("candidates")
    ends = [bool(one.get("finishReason")) for one in candidates or () if isinstance(one, dict)]
    return all(ends) if ends else not candidates


def _converse_finished(events: Iterable[Mapping[str, Any]]) -> bool:
    return any("messageStop" in event for event in events)


def _converse_is_final(event: Mapping[str, Any]) -> bool:
    metadata = event.get("metadata")
    return isinstance(metadata, dict) and isinstance(metadata.get("usage"), dict)


def _invoke_is_final(event: Mapping[str, Any]) -> bool:
    return METRICS in event or event.get("type") == "message_delta" or not PICTURES.isdisjoint(event)


def _invoke_finished(events: Iterable[Mapping[str, Any]]) -> bool:
    return any(
        METRICS in event or event.get("type") == "message_stop" or not PICTURES.isdisjoint(event) for event in events
    )


CHAT = StreamForm(b"usage", ("usage",), b"[DONE]", is_final=_chat_is_final, finished=_chat_finished)
MESSAGES = StreamForm(
    b"usage", ("usage",), b"message_stop", frozenset({"message_stop"}), must_end=True, is_final=_message_is_final,
    finished=_message_finished,
)  # fmt: skip
# Only events with the response itself (created, in progress, the last) have this name; the last may lack its usage.
RESPONSES = StreamForm(
    b"usage", ("response", "usage"), b'"response":',
    frozenset({"response.completed", "response.incomplete", "response.failed", "response.done", "response.cancelled"}),
    must_end=True, finished=_response_finished,
)  # fmt: skip
# Gemini's streams end without saying so. Grounding is billed too, and stands in metadata of its own.
GEMINI = StreamForm(b'Metadata"', ("usageMetadata",), b"[DONE]", is_final=_gemini_is_final, finished=_gemini_finished)
# Images, transcripts and speech: an event of the type `….completed` or `….done` carries the usage, and is the last.
MEDIA = StreamForm(
    b"usage", ("usage",), b'"usage"',
    frozenset({"image_generation.completed", "image_edit.completed", "transcript.text.done", "speech.audio.done"}),
)  # fmt: skip
# Converse's usage stands behind the last word, in `metadata`; InvokeModel's last chunk has the maker's own, and AWS's.
CONVERSE = StreamForm(
    b"usage", ("metadata", "usage"), b'"messageStop"', must_end=True, is_final=_converse_is_final, finished=_converse_finished,
    framed=True,
)  # fmt: skip
INVOKE = StreamForm(b"usage", (METRICS,), b"stop", is_final=_invoke_is_final, finished=_invoke_finished, framed=True)
