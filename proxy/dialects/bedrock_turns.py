"""Bedrock's conversations in the form that `turns.py` compares: Converse's blocks, and prompts that are a whole conversation.

Converse (and Nova by InvokeModel) have blocks named by what they are; Llama and Mistral take one text, in which marks of the
model's own say who speaks. Shapes: Bedrock Runtime API reference; llama.com/docs/model-cards-and-prompt-formats (Llama 2 to 4);
docs.mistral.ai, chat templates; AWS's user guide, Anthropic Claude text completions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

CONVERSE, INVOKE = "bedrock.converse", "bedrock.invoke"  # dialects
DIALECTS = (CONVERSE, INVOKE)
_DEEPEST = 16
_PASSED_OVER = ("cachePoint", "reasoningContent")  # what clients move, or drop
# Before who speaks, behind that, and behind what was said.
_HEADED = (
    ("<|start_header_id|>", "<|end_header_id|>", ("<|eot_id|>", "<|eom_id|>")),
    ("<|header_start|>", "<|header_end|>", ("<|eot|>", "<|eom|>")),
)
# Before what a user says, before what the model answered, and behind that.
_IN_PAIRS = (("[INST]", "[/INST]", "</s>"), ("\n\nHuman:", "\n\nAssistant:", ""))
_TEXTS = ("generation", "outputText", "completion")  # of answers that are one text
_IN_LISTS = (("outputs", "text"), ("results", "outputText"))


def messages_of(body: Mapping[str, Any]) -> list[Any]:
    """The messages of a request, blocks as Anthropic writes them; what is no conversation has none."""
    messages = body.get("messages")
    if isinstance(messages, list):
        return [in_blocks(message) for message in messages]
    prompt = body.get("prompt")
    return [{"role": role, "content": text} for role, text in _spoken(prompt)] if isinstance(prompt, str) else []


def in_blocks(message: Any) -> Any:
    """A message with its blocks as Anthropic writes them."""
    content = message.get("content") if isinstance(message, dict) else None
    return {**message, "content": _blocks(content)} if isinstance(content, list) else message


def _blocks(content: list[Any], depth: int = 0) -> list[Any]:
    blocks = []
    for block in content:
        name = next(iter(block)) if isinstance(block, dict) and len(block) == 1 else ""
        inner = block[name] if name else None
        if name in _PASSED_OVER:
            continue
        if name == "guardContent" and isinstance(inner, dict):
            inner = inner.get("text")
            blocks.append(inner if isinstance(inner, dict) else block)
        elif name == "citationsContent" and isinstance(inner, dict) and isinstance(inner.get("content"), list):
            blocks.extend(inner["content"])
        elif name == "toolUse" and isinstance(inner, dict):
            blocks.append({"type": "tool_use", "name": inner.get("name"), "input": inner.get("input")})
        elif name == "toolResult" and isinstance(inner, dict) and isinstance(inner.get("content"), list):
            deeper = _blocks(inner["content"], depth + 1) if depth < _DEEPEST else inner["content"]
            blocks.append({"type": "tool_result", "content": deeper})
        else:
            blocks.append(block)
    return blocks


def _spoken(prompt: str) -> Iterator[tuple[str, str]]:
    """Who said what in a prompt that is a whole conversation."""
    for opening, closing, ends in _HEADED:
        if opening in prompt:
            for piece in prompt.split(opening)[1:]:
                role, _, text = piece.partition(closing)
                for end in ends:
                    text = text.partition(end)[0]
                if text := text.strip():  # the last header stands for the answer that is asked for
                    yield role.strip(), text
            return
    for opening, answered, end in _IN_PAIRS:
        if opening in prompt:
            for piece in prompt.split(opening)[1:]:
                asked, _, answer = piece.partition(answered)
                yield "user", asked.strip()
                if answer := (answer.partition(end)[0] if end else answer).strip():
                    yield "assistant", answer
            return
    yield "user", prompt


def text_of(events: Iterable[Any]) -> str | None:
    """An answer that is one text and says so by its maker's own name, without the blanks round it; None for any other."""
    texts: list[str] = []
    for event in events:
        if type(event) is not dict or "choices" in event or "type" in event:
            return None
        texts += [text for name in _TEXTS if isinstance(text := event.get(name), str)]
        for name, inner in _IN_LISTS:
            pieces = event.get(name)
            first = pieces[0] if isinstance(pieces, list) and pieces else None
            if isinstance(first, dict) and isinstance(text := first.get(inner), str):
                texts.append(text)
    return "".join(texts).strip() if texts else None


def as_anthropic(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """An event of Converse's stream, or its whole answer, as Anthropic would have said it; None for what adds nothing."""
    output = event.get("output")
    if isinstance(output, dict) and isinstance(message := output.get("message"), dict):
        content = message.get("content")
        return {"type": "message", "content": _blocks(content)} if isinstance(content, list) else None
    start, delta = _inner(event, "contentBlockStart", "start"), _inner(event, "contentBlockDelta", "delta")
    if isinstance(tool := start.get("toolUse"), dict):
        return {"type": "content_block_start", "content_block": {"type": "tool_use", "name": tool.get("name")}}
    if isinstance(tool := delta.get("toolUse"), dict):
        return {"type": "content_block_delta", "delta": {"partial_json": tool.get("input")}}
    if isinstance(text := delta.get("text"), str):  # a block of text has no beginning of its own
        return {"type": "content_block_start", "content_block": {"type": "text", "text": text}}
    return None


def _inner(event: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    value: Any = event
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
