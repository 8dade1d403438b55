"""Results of batch jobs: one line, or many, each a response of its own that is read by its own dialect.

Lines are priced one by one (a part each), so that the sum of many short calls does not pass for one with a long context.
OpenAI's say by their shape which API they are of, and cost what a call of that API does, its searches and tools included.
A line that failed, expired or was cancelled is not billed. Everything here is batch-processed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pricing.usage import Part
from proxy.meters import anthropic, gemini, openai, openai_media
from proxy.meters.openai_responses import responses
from proxy.meters.reader import Context, Read, Reader
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, text


def _body(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response inside a line: OpenAI `response.body`, Anthropic `result.message`, Gemini `response`."""
    outer = mapping(line.get("response")) or mapping(line.get("result"))
    return mapping(outer.get("body")) or mapping(outer.get("message")) or outer or line


def _read_openai(body: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """One answer of any API that OpenAI's batches call."""
    if "choices" in body:
        own = context._replace(model=text(body.get("model")) or context.model)
        openai.chat.read(body, own, builder)
    elif isinstance(body.get("data"), list) and body.get("object") is None:
        openai_media.images.read(body, context, builder)
    elif isinstance(body.get("results"), list):
        openai.moderations.read(body, context, builder)
    else:
        responses.read(body, context, builder)


def _reader(dialect: str, read: Read, usage_key: str = "usage") -> Reader:
    def read_lines(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
        lines = [mapping(line) for line in items(response.get("lines"))]
        if not lines:
            read(_body(response), context, builder)
            builder.has_usage = builder.has_usage or "result" in response
        for line in lines:
            inner = ReadingBuilder()
            read(_body(line), context, inner)
            builder.has_usage = True
            builder.flags += [flag for flag in inner.flags if flag not in builder.flags]
            builder.parts += inner.parts
            if inner.usage:
                builder.parts.append(Part(inner.model or context.model, inner.usage))

    return Reader(dialect, read_lines, fold_line, usage_key=usage_key, facts={"processing": "batch"})


def fold_line(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A line of a result file; a batch object states its status and, once done, the usage of all of it."""
    if text(event.get("object")) == "batch":
        state.update({name: value for name, value in event.items() if value is not None})
    else:
        state.setdefault("lines", []).append(event)


openai_batch = _reader("openai.batch", _read_openai)
anthropic_batch = _reader("anthropic.batch", anthropic.read_message)
gemini_batch = _reader("gemini.batch", gemini.read_generate, usage_key="usageMetadata")
