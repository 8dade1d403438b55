"""OpenAI's Realtime and Live sessions (and xAI's voice, which speaks Realtime).

Here usage is *not* cumulative: each `response.done` is a turn that is billed by itself, so turns add up (by response
id, so that a repeated event counts once). Input transcription is billed at the price of its own model. Live is the
opposite: `usage.seconds` is the session's total so far and must not be summed.
Shapes: openai SDK 3.54 `types/realtime/realtime_response_usage.py`, `types/live/session_usage.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pricing.usage import Part
from proxy.meters.openai_media import read_transcript_usage
from proxy.meters.openai_responses import read_delegated
from proxy.meters.openai_usage import read_usage
from proxy.meters.reader import Context, Reader, merge_counts
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, text

MARKS = re.compile(rb'"(?:usage|session)"\s*:\s*\{')

TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


def read_realtime(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A session: its turns, and what was transcribed beside them."""
    if "turns" not in response:
        response = _folded(response)
    session = mapping(response.get("session"))
    builder.model = text(session.get("model"))
    for turn in mapping(response.get("turns")).values():
        read_turn(mapping(turn), context, builder)
    asr = mapping(mapping(mapping(session.get("audio")).get("input")).get("transcription"))
    asr = asr or mapping(session.get("input_audio_transcription"))
    model = text(context.selector.get("transcription_model")) or text(asr.get("model"))
    for usage in mapping(response.get("transcripts")).values():
        inner = ReadingBuilder()
        read_transcript_usage(mapping(usage), context, inner)
        builder.has_usage = builder.has_usage or inner.has_usage
        if inner.usage:
            builder.parts.append(Part(model or "unknown-transcription-model", inner.usage))


def read_turn(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """One turn's usage. xAI bills voice by the second and by text message; its tokens are informational."""
    seconds = builder.maybe(usage, "billable_audio_seconds")
    if seconds is None:
        read_usage(usage, context, builder)
        return
    builder.has_usage = True
    builder.add("audio_second", seconds)
    builder.add("text_message", builder.count(usage, "input_text_messages"))


def read_transcription_session(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A session that only transcribes: the usage of its transcripts is its own."""
    if "transcripts" not in response:
        response = _folded(response)
    for usage in [*mapping(response.get("transcripts")).values(), *mapping(response.get("turns")).values()]:
        read_transcript_usage(mapping(usage), context, builder)


def _folded(event: Mapping[str, Any]) -> Mapping[str, Any]:
    state: dict[str, Any] = {}
    fold_realtime(state, event)
    return state


def fold_realtime(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A server event. A bare usage object, or a response with one, counts as one turn."""
    turns: dict[str, Any] = state.setdefault("turns", {})
    transcripts: dict[str, Any] = state.setdefault("transcripts", {})
    if isinstance(session := event.get("session"), dict):
        state["session"] = {**mapping(state.get("session")), **session}
    inner = mapping(event.get("response"))
    if event.get("type") == TRANSCRIBED:
        name = f"{event.get('item_id') or len(transcripts)}/{event.get('content_index')}"
        transcripts[name] = event.get("usage")
    elif isinstance(usage := inner.get("usage") or event.get("usage"), dict):
        turns[str(inner.get("id") or event.get("response_id") or len(turns))] = usage


def read_live(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A Live session: its seconds of audio, and the models that it delegated to."""
    session = mapping(response.get("session"))
    builder.model = text(response.get("model")) or text(session.get("model"))
    seconds = builder.maybe(mapping(response.get("usage")), "seconds")
    if seconds is not None:
        builder.has_usage = True
        builder.add("audio_second", seconds)
    for inner in items(response.get("delegated")):
        if part := read_delegated(mapping(inner), context, builder):
            builder.parts.append(part)


def fold_live(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """`session.usage.updated` and `session.closed` carry totals; nested responses and decisions other models' usage."""
    if isinstance(session := event.get("session"), dict):
        state["session"] = session
    if isinstance(usage := event.get("usage"), dict):
        state["usage"] = merge_counts(mapping(state.get("usage")), usage)
    nested = mapping(event.get("event")) or event
    for name in ("response", "decision"):
        inner = mapping(nested.get(name))
        if isinstance(inner.get("usage"), dict):
            state.setdefault("delegated", []).append(inner)


realtime = Reader("openai.realtime", read_realtime, fold_realtime, marks=MARKS)
realtime_transcription = Reader("openai.realtime.transcription", read_transcription_session, fold_realtime, marks=MARKS)
live = Reader("openai.live", read_live, fold_live, marks=MARKS)
