"""What requests to Bedrock hold that is no text: pictures, documents, films, recordings (`DocumentBlock`, `ImageBlock`, … of
the Bedrock Runtime API reference, as botocore 1.44.8 has them)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pricing.media.bounds import Medium
from proxy.dialects import attachments, fields
from proxy.errors import invalid_request

_TEXT_BLOCKS = frozenset({
    "text", "json", "toolUse", "cachePoint", "reasoningContent", "citationsContent", "searchResult", "toolAddition",
    "toolRemoval",
})  # fmt: skip
_PLAIN_DOCUMENTS = frozenset({"txt", "md", "csv", "html"})  # whose text is no longer than their bytes


def in_converse(body: Mapping[str, Any], fresh: Sequence[dict[str, Any]]) -> Iterator[Medium]:
    """What Converse's messages hold. Raises `Refused` for what the account's own S3 holds. fresh: those that have to be looked
    at."""
    fields.objects(body, "messages")
    for message in fresh:
        yield from in_content(message.get("content"))


def has_none(message: dict[str, Any]) -> bool:
    """Whether a message of Converse's has none."""
    return not [*in_content(message.get("content"))]


def in_content(content: object) -> Iterator[Medium]:
    """Converse's blocks; Nova's messages have the same."""
    stack = [content]
    while stack:
        block = stack.pop()
        if isinstance(block, list):
            stack += [one for one in block if isinstance(one, dict)]
            continue
        for name, value in block.items() if isinstance(block, dict) else ():
            if name in _TEXT_BLOCKS:
                continue
            if name == "toolResult" and isinstance(value, dict):
                stack.append(value.get("content"))
            elif name == "guardContent":
                stack.append(value)
            elif (medium := _medium(name, value)) is not None:
                yield medium


def _medium(kind: str, value: object) -> Medium | None:
    """A picture, a document, a film, a recording; None for a document that is text."""
    source = value.get("source") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(source, dict):
        return Medium("")
    if "s3Location" in source:
        message = (
            "Objects of the account's own S3 are not read for a caller; send what `s3Location` stands for as `bytes`."
        )
        raise invalid_request(message, "messages")
    data, form = source.get("bytes"), value.get("format")
    if kind == "document":
        if "text" in source or "content" in source or form in _PLAIN_DOCUMENTS:
            return None
        return Medium("pdf", data) if form == "pdf" and isinstance(data, str) else Medium("")
    return Medium(kind, data) if kind in ("image", "audio", "video") and isinstance(data, str) else Medium("")


def in_any(body: Mapping[str, Any]) -> Iterator[Medium]:
    """What a body of InvokeModel holds, whoever made the model."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and "type" in part:  # as OpenAI has them
                if part["type"] != "text":
                    yield attachments.of_chat_part(part)
            else:
                yield from in_content(part)
    images = body.get("images")
    for image in images if isinstance(images, list) else ():
        yield Medium("image", image) if isinstance(image, str) else Medium("")
    for name in ("inputImage", "image", "inputVideo", "inputAudio", "mediaSource"):
        if body.get(name):
            yield Medium("")
