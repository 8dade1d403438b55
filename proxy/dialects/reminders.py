"""Reminders that an agent program puts into the user's messages, and moves or drops from call to call. Pure.

Claude Code's, and of those that follow it: `<system-reminder>…</system-reminder>`, a block of its own or within a text.
"""

from __future__ import annotations

from typing import Any

_OPEN, _CLOSE = "<system-reminder>", "</system-reminder>"


def _has_reminders(text: str) -> bool:
    """Whether one may stand in it. A single character is found ten times as fast."""
    return "<" in text and _OPEN in text


def without_reminders(message: Any) -> Any:
    """A user's message without them; None where nothing else was in it. A message that has none is given as it is."""
    content = message.get("content")
    if isinstance(content, str):
        if not _has_reminders(content):
            return message
        rest = _without(content)
        return {**message, "content": rest} if rest else None
    if not isinstance(content, list) or not any(_has_reminders(part["text"]) for part in content if _is_text(part)):
        return message
    kept = []
    for part in content:
        if not _is_text(part) or not _has_reminders(part["text"]):
            kept.append(part)
        elif rest := _without(part["text"]):
            kept.append({**part, "text": rest})
    return {**message, "content": kept} if kept else None


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _without(text: str) -> str:
    """From an opening that has no end on, all stays: each character is looked at once."""
    kept: list[str] = []
    at = 0
    while (begin := text.find(_OPEN, at)) >= 0 and (end := text.find(_CLOSE, begin)) >= 0:
        kept.append(text[at:begin])
        at = end + len(_CLOSE)
    kept.append(text[at:])
    return "".join(kept).strip()
