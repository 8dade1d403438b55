"""The text of a chat's stream, for knowing its conversation again: only what says it becomes values.

`turns.answer_turns` reads the same out of parsed events, whatever they are. Here are those of nearly every chat: one answer of
one text.
"""

from __future__ import annotations

import msgspec

_Unread = msgspec.Raw | msgspec.UnsetType


class _Said(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: _Unread = msgspec.UNSET
    function_call: _Unread = msgspec.UNSET


class _Choice(msgspec.Struct, gc=False):
    delta: _Said
    index: int | None = None
    message: _Unread = msgspec.UNSET


class _Event(msgspec.Struct, gc=False):
    choices: list[_Choice]
    object: str | None = None
    type: _Unread = msgspec.UNSET


_decoder = msgspec.json.Decoder(list[_Event])
_UNSAID = (msgspec.UNSET, msgspec.Raw(b"null"), msgspec.Raw(b"[]"))


def chat_text(events: bytes) -> str | None:
    """What `events` (a JSON list of them) say; None where they say anything else, or cannot be read so."""
    if events.find(b"\\") >= 0 and events.find(b"\\u") >= 0:  # half a pair is no text for other readers
        return None
    try:
        if not events.isascii():
            events.decode()
        read = _decoder.decode(events)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    texts: list[str] = []
    spoke = False
    for event in read:
        choices = event.choices
        if event.type is not msgspec.UNSET or len(choices) > 1 or event.object == "response":
            return None
        if not choices:
            continue  # the usage
        choice = choices[0]
        delta = choice.delta
        if choice.index or choice.message is not msgspec.UNSET:
            return None
        if delta.tool_calls not in _UNSAID or delta.function_call not in _UNSAID:
            return None
        spoke = True
        if delta.content:
            texts.append(delta.content)
    return "".join(texts) if spoke else None
