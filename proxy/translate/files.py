"""Files that a call names by URL: for some providers LiteLLM fetches them itself, asks the names' servers where they are, and
takes more for an address than the web's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.errors import Refused, invalid_request

NO_URLS = invalid_request("This provider takes no URLs of files here; send what they stand for as data.", "url").refusal
# For which LiteLLM fetches (1.110.2). For all others what it fetches is still refused (`hook.py`), but later and in its words.
_FETCHED = frozenset({"bedrock", "gemini"})
_WEB = ("http", "https")
_PLACES = ("image_url", "file_url", "video_url", "file", "source", "input_audio")
_ADDRESSES = ("url", "file_url")
_NAMES = (*_ADDRESSES, "file_id", "file_data", "data")
_DEEPEST = 16


def require_data(operation: str, passed: Mapping[str, Any], provider: str, model: str) -> None:
    """Raises `Refused` (400) where a file would be fetched from here, or stands at no address of the web."""
    fetched = provider in _FETCHED or (provider == "vertex_ai" and "claude" in model.lower())
    for url in _urls(passed.get("input" if operation == "responses" else "messages")):
        scheme = url.partition(":")[0].strip().lower()
        if scheme != "data" and (fetched or scheme not in _WEB):
            raise Refused(NO_URLS)


def _urls(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield from _in_parts(message.get("content"))
            yield from _in_parts(message.get("output"))


def _in_parts(content: Any, depth: int = 0) -> Iterator[str]:
    """URLs in content parts only: a tool's arguments and texts may name whatever they like."""
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        for name in _PLACES:
            place = part.get(name)
            named = [(inner, place.get(inner)) for inner in _NAMES] if isinstance(place, dict) else [("url", place)]
            for inner, value in named:
                # A field called URL holds one, whatever is in it; a field for an id or data may hold one, too.
                if isinstance(value, str) and (inner in _ADDRESSES or "://" in value[:200]):
                    yield value
        if depth < _DEEPEST:
            yield from _in_parts(part.get("content"), depth + 1)
