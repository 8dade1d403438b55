"""A conversation as turns that can be compared: an answer that a client sends back equals the answer that it got. Pure.

A turn is who speaks, the text, the tools that are called: what is the same however a client writes it down again. Left out
is what clients add, move or drop (cache marks, ids, thinking). The bytes of a turn are hashed, never kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from proxy.bounded_table import BoundedTable
from proxy.dialects import bedrock_turns
from proxy.dialects.reminders import without_reminders
from proxy.dialects.tool_arguments import meaning
from proxy.types import Call

FIELDS = {
    "openai.chat": "messages",
    "anthropic.messages": "messages",
    "openai.responses": "input",
    "gemini": "contents",
    bedrock_turns.CONVERSE: "messages",
    bedrock_turns.INVOKE: "messages",
}
_ASKING, _FEW = ("user", "system", "developer"), 16
_OPERATIONS = ("chat", "messages", "responses", "generate", "converse", "invoke")
# What changes from call to call of one conversation and is no part of what the model reads.
PASSING = frozenset({
    "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "metadata", "user",
    "safety_identifier", "prompt_cache_key", "store", "temperature", "top_p", "seed", "stop", "n", "service_tier",
    "generationConfig", "previous_response_id", "include", "context_management", "inferenceConfig",
})  # fmt: skip
_MARKED_DEPTH = 16
SYSTEM_ROLES = ("system", "developer")
_INSTRUCTIONS = frozenset({"system", "instructions", "systemInstruction", "system_instruction"})
_MARK = {"cachePoint"}  # Converse's, a block of its own
_NONE: Sequence[Any] = ()
# The turns of those who speak mostly, but for the text.
_TEXT_TURNS = {
    role: b'["%b",%%b,[],[]]' % role.encode() for role in ("user", "assistant", "system", "developer", "tool")
}
_TEXT_TURNS["model"] = _TEXT_TURNS["assistant"]
_LONG_CHARS, _BEGINNING_CHARS = 4096, 512  # of no turn is more than that looked at by itself
# Digests of long texts by their Python hash, which is keyed and takes a third of the time: agents send the same texts again
# and again. Whoever made two of one hash would only have his own conversations taken for one.
_digests: BoundedTable[tuple[int, int], bytes] = BoundedTable(8192)
_FIRST = (0, None)  # the first sequence, by its index
_RESPONSE_ENDS = ("response.completed", "response.incomplete")


def is_conversation(call: Call) -> bool:
    return call.dialect in FIELDS and call.operation in _OPERATIONS


def has_no_answer(call: Call) -> bool:
    """Whether it is seen at a glance that none of its messages is an answer."""
    if call.marks is not None or call.dialect in bedrock_turns.DIALECTS:
        return False
    messages = call.body.get(FIELDS[call.dialect])
    if type(messages) is not list or len(messages) > _FEW:
        return type(messages) is str
    for message in messages:
        if type(message) is not dict or message.get("role") not in _ASKING or "type" in message:
            return False
    return True


def messages_of(call: Call) -> Sequence[Any]:
    """The messages, contents or input items of a request, which may be `UnreadMessages`: see `fields.objects`."""
    if call.dialect in bedrock_turns.DIALECTS:
        return bedrock_turns.messages_of(call.body)
    messages = call.body.get(FIELDS[call.dialect])
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    return messages if isinstance(messages, list) else []


def frame_of(call: Call) -> bytes:
    """Everything else that the model reads: system prompt, tools, the model's name, settings."""
    rest = {name: value for name, value in call.body.items() if name != FIELDS[call.dialect] and name not in PASSING}
    return plain_bytes(_unmarked(rest))


def system_of(call: Call) -> bytes:
    """What the conversation is told about itself: it begins a thread of its own."""
    if _INSTRUCTIONS.isdisjoint(call.body):
        return b""
    instructions = [
        call.body.get(name) for name in ("system", "instructions", "systemInstruction", "system_instruction")
    ]
    return plain_bytes(_unmarked(instructions)) if any(instructions) else b""


def turns_of(call: Call) -> list[bytes]:
    """The conversation's turns, without what clients move, drop or add on the way.

    That is what a model thought, which some send back and others do not; and a reminder from the system behind the
    conversation's beginning, which some put last in each call (aider), or into what the user says (`<system-reminder>`).
    """
    spoken: list[bytes] = []
    begun = False
    for message in messages_of(call):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in SYSTEM_ROLES:
            begun = True
        elif begun:
            continue
        if (turn := turn_in(message, role)) is not None:
            spoken.append(turn)
    return spoken


def turn_in(message: Any, role: Any) -> bytes | None:
    """The turn that a message of that role is; None where it holds nothing but thoughts or reminders. It is to be hashed: who
    keeps it for a while copies it (`wire/packed.py`)."""
    if (
        type(role) is str
        and len(message) == 2
        and type(content := message.get("content")) is str
        and (role != "user" or "<" not in content)  # of a reminder
    ):
        return text_turn(role, content)  # what most are
    if role == "user" and (message := without_reminders(message)) is None:
        return None
    if role is not None and "type" not in message and type(content := message.get("content")) is str:
        calls = "tool_calls" in message or "function_call" in message
        return turn_of(message) if calls else text_turn(role, content)
    return None if _is_thought(message) else turn_of(message)


def text_turn(role: Any, content: str) -> bytes:
    """The turn of a message that is one text."""
    text = content if len(content) <= _LONG_CHARS else _brief(content)
    if type(role) is str and (form := _TEXT_TURNS.get(role)) is not None:
        try:
            return form % orjson.dumps(text)
        except TypeError:  # half a character
            return plain_bytes(text)
    return plain_bytes([role, text, _NONE, _NONE])


def _brief(text: str) -> str:
    """A text as a turn has it: only compared. To write and hash all of a long one, keyed, would take most of a call's time."""
    if len(text) <= _LONG_CHARS:
        return text
    name = hash(text), len(text)
    digest = _digests.get(name)
    if digest is None:
        digest = _digests[name] = sha256(text.rstrip().encode("utf-8", "surrogatepass")).digest()
    return f"{text[:_BEGINNING_CHARS]}\n#{digest.hex()}"


def _is_thought(item: Any) -> bool:
    """Responses' reasoning, itself or by its id (OpenAI's begin with `rs_`): an item of its own there."""
    if not isinstance(item, dict) or "type" not in item:
        return False
    kind = item["type"]
    if kind == "item_reference":
        return isinstance(item.get("id"), str) and item["id"].startswith("rs_")
    return bool(kind == "reasoning")


def turn_of(message: Any) -> bytes:
    """One message of any of the dialects."""
    if not isinstance(message, dict):
        return plain_bytes(message)
    role = message.get("role")
    content = message.get("content")
    legacy = message.get("function_call")  # before there were tool_calls
    if isinstance(content, str) and role is not None and "tool_calls" not in message and legacy is None:
        return text_turn(role, content)
    if content is None:
        content = message.get("parts")
    texts, others = _content(content)
    calls = [_call(one) for one in _list(message.get("tool_calls")) if isinstance(one, dict)]
    if isinstance(legacy, dict):
        calls.append(_call({"function": legacy}))
    kind = message.get("type")
    if kind == "function_call":
        role, calls = "assistant", [[message.get("name"), meaning(message.get("arguments"))]]
    elif kind == "function_call_output":
        role, texts, others = "tool", [], [_said(message.get("output"))]
    elif kind is not None and kind != "message" and role is None:
        others = [_unmarked({name: value for name, value in message.items() if name not in ("id", "status")})]
    speaker = "assistant" if role == "model" else role
    return plain_bytes([speaker, _brief("".join(texts)), others, calls])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def plain_bytes(value: Any) -> bytes:
    try:
        return b"%b" % orjson.dumps(value, option=orjson.OPT_SORT_KEYS)  # see `packed`
    except TypeError:  # nested deeper than can be written
        return b"(too deep)"


def _content(content: Any, depth: int = 0) -> tuple[list[str], list[Any]]:
    if isinstance(content, str):
        return [content], []
    texts: list[str] = []
    others: list[Any] = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            others.append(part)
        elif isinstance(part.get("text"), str) and part.get("type") in (None, "text", "input_text", "output_text"):
            if not part.get("thought"):
                texts.append(part["text"])
        elif part.get("type") == "tool_use":
            others.append([part.get("name"), meaning(part.get("input"))])
        elif part.get("type") == "tool_result":
            others.append(["result", _said(part.get("content"), depth + 1)])
        elif "functionCall" in part:
            call = part["functionCall"]
            others.append([call.get("name"), meaning(call.get("args"))] if isinstance(call, dict) else call)
        elif part.get("type") not in ("thinking", "redacted_thinking", "reasoning"):
            others.append(_unmarked(part))
    return texts, others


def _said(content: Any, depth: int = 0) -> Any:
    """What a tool's result says: its text, and beside it whatever else is in it. Below a depth that none has, as it is."""
    if isinstance(content, str):
        return _brief(content)
    if depth > _MARKED_DEPTH:
        return content
    texts, others = _content(content, depth)
    text = _brief("".join(texts))
    return [text, *others] if others else text


def _call(call: Mapping[str, Any]) -> list[Any]:
    function, custom = call.get("function"), call.get("custom")
    if isinstance(custom, dict):  # a tool that takes a text of any form
        return [custom.get("name"), custom.get("input")]
    return [function.get("name"), meaning(function.get("arguments"))] if isinstance(function, dict) else [None, None]


def _unmarked(value: Any, depth: int = 0) -> Any:
    """Without cache marks, which clients move from turn to turn; below a depth where none can stand, as it is."""
    if depth > _MARKED_DEPTH:
        return value
    if isinstance(value, dict):
        return {name: _unmarked(one, depth + 1) for name, one in value.items() if name != "cache_control"}
    if isinstance(value, list):
        return [_unmarked(one, depth + 1) for one in value if not (type(one) is dict and one.keys() == _MARK)]
    return value


def answer_turns(events: Iterable[Any]) -> list[bytes]:
    """The turns that an answer adds to its conversation; `events` are a stream's, or one whole body. [] where unknown."""
    events = list(events)
    if (text := _chat_text(events)) is not None:
        return [text_turn("assistant", text)]
    if (text := bedrock_turns.text_of(events)) is not None:
        return [text_turn("assistant", text)]
    message: dict[str, Any] = {"role": "assistant", "content": [], "tool_calls": []}
    spoke = False
    for event in events:
        if not isinstance(event, dict):
            continue
        response = event.get("response") if event.get("type") in _RESPONSE_ENDS else event
        if isinstance(response, dict) and response.get("object") == "response":
            items = response.get("output")
            kept = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
            return [turn_of(item) for item in kept if not _is_thought(item)]
        spoke = _add(message, event) or spoke
    message["tool_calls"] = [_joined(call) for call in message["tool_calls"] if call]
    for block in message["content"]:
        if isinstance(block.get("text"), _Pieces):
            block["text"] = "".join(block["text"])
        if isinstance(block.get("input"), _Pieces):
            block["input"] = "".join(block["input"])
    return [turn_of(message)] if spoke else []


def _chat_text(events: Iterable[Any]) -> str | None:
    """The text of a chat's answer that is one text and nothing else, which most are; None for all others."""
    texts: list[str] = []
    spoke = False
    for event in events:
        if type(event) is not dict or type(choices := event.get("choices")) is not list or "type" in event:
            return None
        if not choices:
            continue  # the usage
        choice = choices[0]
        if len(choices) > 1 or type(choice) is not dict or choice.get("index") not in _FIRST:
            return None
        message = choice.get("delta") or choice.get("message") or {}
        if (
            type(message) is not dict
            or message.get("tool_calls")
            or message.get("function_call")
            or event.get("object") == "response"
        ):
            return None
        spoke = True
        text = message.get("content")
        if type(text) is str:
            texts.append(text)
        elif text is not None:
            return None
    return "".join(texts) if spoke else None


_Pieces = deque
"""A text as it comes, by a type that no JSON has: to add each piece to the text so far would copy that every time."""


def _joined(call: Mapping[str, Any]) -> dict[str, Any]:
    if "custom" in call:
        return {"custom": {**call["custom"], "input": "".join(call["custom"]["input"])}}
    function = call["function"]
    return {"function": {**function, "arguments": "".join(function["arguments"])}}


def _add(message: dict[str, Any], event: Mapping[str, Any]) -> bool:
    """Add what one event says to the message; whether it said anything that belongs to an answer."""
    choices = event.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index") in _FIRST:
                _add_chat(message, choice.get("delta") or choice.get("message") or {})
        return bool(choices)
    candidates = event.get("candidates")
    if isinstance(candidates, list) and candidates and isinstance(candidates[0], dict):
        content = candidates[0].get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        message["content"] += [part for part in _list(parts) if isinstance(part, dict)]
        return True
    return _add_anthropic(message, event if "type" in event else bedrock_turns.as_anthropic(event) or event)


def _add_chat(message: dict[str, Any], delta: Any) -> None:
    if not isinstance(delta, dict):
        return
    if isinstance(delta.get("content"), str):
        message["content"].append({"type": "text", "text": delta["content"]})
    parts = _list(delta.get("tool_calls"))
    if isinstance(legacy := delta.get("function_call"), dict):
        parts = [*parts, {"index": 0, "function": legacy}]
    for position, part in enumerate(parts):
        kind = "custom" if isinstance(part, dict) and isinstance(part.get("custom"), dict) else "function"
        piece_of_call = part.get(kind) if isinstance(part, dict) else None
        if not isinstance(piece_of_call, dict):
            continue
        index = part.get("index", position)
        calls = message["tool_calls"]
        if not isinstance(index, int) or not 0 <= index < 256:
            continue
        calls += [{} for _ in range(index + 1 - len(calls))]
        text = "input" if kind == "custom" else "arguments"
        so_far = calls[index].setdefault(kind, {"name": None, text: _Pieces()})
        so_far["name"] = piece_of_call.get("name") or so_far["name"]
        if isinstance(piece := piece_of_call.get(text), str):
            so_far[text].append(piece)


def _add_anthropic(message: dict[str, Any], event: Mapping[str, Any]) -> bool:
    kind = event.get("type")
    if kind == "message":
        message["content"] = [block for block in _list(event.get("content")) if isinstance(block, dict)]
        return True
    if kind == "content_block_start" and isinstance(event.get("content_block"), dict):
        block = dict(event["content_block"])
        if block.get("type") == "tool_use":
            block["input"] = _Pieces()
        message["content"].append(block)
        return True
    if kind == "content_block_delta" and message["content"] and isinstance(event.get("delta"), dict):
        block, delta = message["content"][-1], event["delta"]
        if isinstance(delta.get("text"), str):
            if not isinstance(text := block.get("text"), _Pieces):
                text = block["text"] = _Pieces([text] if isinstance(text, str) else [])
            text.append(delta["text"])
        if isinstance(delta.get("partial_json"), str) and isinstance(block.get("input"), _Pieces):
            block["input"].append(delta["partial_json"])
    return False
