"""What a request holds that is no text: pictures, recordings, films, documents, found where each dialect puts them.

Only what a field says it is counts here; whether the bytes are that, and how large, is read by `pricing/media`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pricing.media.bounds import Medium
from pricing.media.vision import ENLARGED
from proxy.dialects import fields

_MOST_HEAD = 200  # characters before the comma of a data URL
_MOST_FPS = 24


def of_url(kind: str, url: object, detail: object = None) -> Medium:
    """A medium whose field holds a URL: inline where it is a data URL in base64, else only referred to."""
    wanted = detail if isinstance(detail, str) else ""
    if not isinstance(url, str) or not url.startswith("data:"):
        return Medium(kind, "", wanted)
    comma = url.find(",", 0, _MOST_HEAD)
    if comma < 0 or not url[:comma].endswith(";base64"):
        return Medium("")
    return Medium(_kind_of(url[5:comma]) or kind, url[comma + 1 :], wanted)


def _kind_of(mime: object) -> str:
    """By a MIME type; "" for those that no formula is known for."""
    mime = mime.lower() if isinstance(mime, str) else ""
    if mime.startswith("application/pdf"):
        return "pdf"
    top = mime.partition("/")[0]
    return top if top in ("image", "audio", "video") else ""


def of_chat_part(part: dict[str, Any]) -> Medium:
    """A content part of Chat Completions that is no text."""
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        if isinstance(image, dict):
            detail = image.get("detail")
            detail = ENLARGED if "min_pixels" in image or "min_pixels" in part else detail
            return _as("image", of_url("image", image.get("url"), detail))
        return _as("image", of_url("image", image, ENLARGED if "min_pixels" in part else None))
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        data = part["input_audio"].get("data")
        return Medium("audio", data) if isinstance(data, str) else Medium("")
    if kind == "file" and isinstance(part.get("file"), dict):
        return _file(part["file"].get("file_data"))
    return Medium("")


def _as(kind: str, medium: Medium) -> Medium:
    """It, if it is of that kind; a picture's field may hold nothing else that a formula is known for."""
    return medium if medium.kind == kind else Medium("")


def _file(data: object) -> Medium:
    """A file's bytes, with or without the head of a data URL: a document, or something that nobody knows."""
    if not isinstance(data, str):
        return Medium("")
    medium = of_url("", data) if data.startswith("data:") else Medium("pdf", data)
    return medium if medium.kind == "pdf" else Medium("")


def of_responses_part(part: dict[str, Any]) -> Medium:
    """A content part, or the output of a tool, of OpenAI's Responses."""
    kind = part.get("type")
    if kind in ("input_image", "computer_screenshot"):
        return _as("image", of_url("image", part.get("image_url"), part.get("detail")))
    if kind == "input_file":
        return _file(part.get("file_data"))
    return Medium("")


def of_blocks(blocks: object, name: str, text_blocks: frozenset[str]) -> Iterable[Medium]:
    """Everything but text among Anthropic's content blocks, and among those that they hold. name: the body's field."""
    stack = [blocks]
    while stack:
        block = stack.pop()
        if isinstance(block, list):
            stack += [one for one in block if isinstance(one, dict)]
        elif isinstance(block, dict):
            named = fields.kind_of(block, name) or ""
            if named in text_blocks or named.endswith("_tool_result"):
                stack.append(block.get("content"))
            elif named == "document" and _is_text(block.get("source"), stack):
                continue
            else:
                yield _of_source(named, block.get("source"))


def _is_text(source: object, stack: list[Any]) -> bool:
    """Whether a document is plain text; one that is made of blocks is looked into."""
    if not isinstance(source, dict):
        return False
    if source.get("type") == "content":
        stack.append(source.get("content"))
        return True
    return source.get("type") == "text"


def _of_source(kind: str, source: object) -> Medium:
    if kind not in ("image", "document") or not isinstance(source, dict):
        return Medium("")
    data = source.get("data")
    expected = "image" if kind == "image" else "pdf"
    if source.get("type") == "base64" and isinstance(data, str):
        return _as(expected, Medium(_kind_of(source.get("media_type")), data))
    return Medium("image") if kind == "image" and source.get("type") == "url" else Medium("")


def of_gemini_part(part: dict[str, Any], resolution: object) -> Medium:
    """A part of Gemini's that is no text. resolution: what the request wants of those that say nothing themselves."""
    own = part.get("mediaResolution") or part.get("media_resolution")
    level = own.get("level") if isinstance(own, dict) else own
    wanted = next((one for one in (level, resolution) if isinstance(one, str)), "")
    inline = part.get("inlineData") if "inlineData" in part else part.get("inline_data")
    both = "inlineData" in part and "inline_data" in part
    if not isinstance(inline, dict) or both or "fileData" in part or "file_data" in part:
        return Medium("")
    sized = isinstance(own, dict) and not own.keys() <= {"level"}
    if sized or any(_is_looked_at_otherwise(name, value) for name, value in part.items()):
        return Medium("")
    mime, data = inline.get("mimeType") or inline.get("mime_type"), inline.get("data")
    if not isinstance(data, str):
        return Medium("")
    return Medium(_kind_of(mime), data, wanted, _fps(part))


def _is_looked_at_otherwise(name: str, value: object) -> bool:
    """Whether a field of a part has it read in a way that no formula is published for (google-genai 3.6, `types.Part`)."""
    plain = name.replace("_", "").lower()
    if plain == "mediaprocessing":
        return value not in (None, "STATIC", "MEDIA_PROCESSING_UNSPECIFIED")
    if plain == "videometadata" and isinstance(value, dict):
        return any(key.replace("_", "").lower() == "contentlayers" and value[key] for key in value)
    return plain in ("documentmetadata", "spreadsheetmetadata") and bool(value)


def _fps(part: dict[str, Any]) -> int:
    """Frames a second that a film is looked at; the most there is where it is said in a way that we do not understand."""
    metadata = part.get("videoMetadata") or part.get("video_metadata")
    fps = metadata.get("fps") if isinstance(metadata, dict) else None
    if fps is None:
        return 1
    return max(1, math.ceil(fps)) if type(fps) in (int, float) and 0 < fps <= _MOST_FPS else _MOST_FPS
