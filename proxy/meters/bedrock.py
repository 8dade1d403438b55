"""Amazon Bedrock: Converse, and InvokeModel whose body is the vendor's own.

Converse: input, cache reads and cache writes are disjoint; `cache*InputTokenCount` are aliases of the same numbers.
InvokeModel: the vendor's usage where it has one; a stream's end repeats it as `amazon-bedrock-invocationMetrics`, other
vendors state it only in the headers `x-amzn-bedrock-*-token-count`. No body names the model.
Shapes: Bedrock Runtime API reference `TokenUsage`, `CacheDetail`, `ConverseStreamMetadataEvent`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import orjson

from pricing.media.images import image_size
from pricing.media.source import Encoded
from pricing.usage import Quantity
from proxy.meters import anthropic
from proxy.meters.openai_usage import read_usage
from proxy.meters.reader import Context, Reader, first_mapping, merge_counts, note_requested, note_tier
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, text

MARKS = re.compile(
    rb'"(?:usage|metadata|amazon-bedrock-invocationMetrics|bytes|message_delta|images|finish_reasons)"|[tT]oken_?[cC]ount'
)

METRICS = "amazon-bedrock-invocationMetrics"
PICTURES = frozenset({"images", "finish_reasons"})  # of InvokeModel: all of them are in one chunk
# By these sizes pictures are priced, up to which their number of pixels counts; by the steps of the oldest models' making, too.
_EDGES, _STANDARD_STEPS = (512, 1024, 2048), 50
_UNMADE = ("Filter reason: prompt", "Filter reason: input image")
_TTL_UNITS = {"5m": "cache_write_5m", "30m": "cache_write_30m", "1h": "cache_write_1h"}
_DEAREST = ("cache_write_1h", "cache_write_30m", "cache_write_5m")  # what exceeds the total is cut from the cheapest
_HEADERS = {
    "inputTokens": "x-amzn-bedrock-input-token-count",
    "outputTokens": "x-amzn-bedrock-output-token-count",
    "cacheReadInputTokens": "x-amzn-bedrock-cache-read-input-token-count",
    "cacheWriteInputTokens": "x-amzn-bedrock-cache-write-input-token-count",
}


def read_token_usage(usage: Mapping[str, Any], builder: ReadingBuilder) -> None:
    """Add a Converse `TokenUsage` (or invocation metrics, which name it `…Count`) to `builder`."""
    input_tokens = builder.maybe(usage, "inputTokens", "inputTokenCount")
    output_tokens = builder.maybe(usage, "outputTokens", "outputTokenCount")
    if input_tokens is None and output_tokens is None:
        return
    builder.has_usage = True
    read = builder.count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = builder.count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    by_unit: dict[str, Quantity] = {}
    for entry in items(usage.get("cacheDetails")):
        detail = mapping(entry)
        unit = _TTL_UNITS.get(str(detail.get("ttl")), "cache_write_5m")
        by_unit[unit] = by_unit.get(unit, 0) + builder.count(detail, "inputTokens")
    written = written or sum(by_unit.values())
    dearest_first = sorted(by_unit.items(), key=lambda part: _DEAREST.index(part[0]))
    builder.split(written, dearest_first, "cache_write_5m")
    builder.add("input", input_tokens or 0)
    builder.add("cache_read", read)
    builder.add("output", output_tokens or 0)
    builder.add(
        "web_search", builder.count(mapping(usage.get("serverToolUsage")), "webSearchRequests", "webSearchCount")
    )
    total = builder.maybe(usage, "totalTokens")
    plain = (input_tokens or 0) + (output_tokens or 0)
    if total != plain:  # some models leave the cache out of the total
        builder.check_total(total, plain + read + written)


def read_converse(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A Converse response, or what a stream's `metadata` event said."""
    router = mapping(mapping(response.get("trace")).get("promptRouter"))
    builder.model = text(router.get("invokedModelId"))
    note_tier(builder, mapping(response.get("serviceTier")).get("type"))
    latency = mapping(response.get("performanceConfig")).get("latency")
    if latency != "standard":
        builder.condition("latency", latency)
    read_token_usage(mapping(response.get("usage")), builder)


def fold_converse(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """Usage comes in the `metadata` event, after `messageStop`."""
    metadata = mapping(event.get("metadata")) or event
    for name in ("usage", "serviceTier", "performanceConfig", "trace"):
        if isinstance(value := metadata.get(name), dict):
            state[name] = value


def read_invoke(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """An InvokeModel response: whichever of the known shapes it has."""
    usage = mapping(response.get("usage"))
    tier = response.get("serviceTier")
    note_tier(builder, mapping(tier).get("type") or tier)
    if "inputTokens" in usage or "inputTokenCount" in usage:
        read_token_usage(usage, builder)
    elif "prompt_tokens" in usage:
        read_usage(usage, context, builder)
    elif usage:
        anthropic.read_message(response, context, builder)
        builder.model = None  # the vendor's name says nothing of the profile (us., global.) that chose the price
    else:
        _read_vendor(response, builder)
    if not builder.has_usage:
        read_token_usage(mapping(response.get(METRICS)), builder)
    if not builder.has_usage:
        _read_pictures(response, context, builder)
    if not builder.has_usage:
        headers = {name: context.response_headers.get(header) for name, header in _HEADERS.items()}
        read_token_usage(headers, builder)


def _read_pictures(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Billed each, by size and quality. The size is that of what was made; the quality is only asked for. What a filter took
    away beforehand is not among them (Stability's then have reasons alone)."""
    images = response.get("images") or response.get("artifacts")
    if not isinstance(images, list):
        reasons = items(response.get("finish_reasons"))
        builder.has_usage = bool(reasons) and all(reason in _UNMADE for reason in reasons)
        return
    builder.has_usage = True
    builder.add("image", len(images))
    first = next(iter(images), None)
    data = first if isinstance(first, str) else text(mapping(first).get("base64"))
    size = image_size(Encoded(data)) if data else None
    if size is not None:
        square = next((edge for edge in _EDGES if size.width * size.height <= edge * edge), _EDGES[-1])
        builder.condition("size", f"{square}x{square}")
    elif images:  # the size is unknown: the largest, where that is dearer
        builder.note_requested("size", f"{_EDGES[-1]}x{_EDGES[-1]}")
    config = mapping(context.request.get("imageGenerationConfig"))
    note_requested(builder, context, "quality", config.get("quality"))
    steps = builder.maybe(context.request, "steps")
    if steps is not None:
        note_requested(builder, context, "steps", "50-steps" if steps <= _STANDARD_STEPS else "max-steps")


def _read_vendor(response: Mapping[str, Any], builder: ReadingBuilder) -> None:
    """Llama and Titan count in the body itself."""
    input_tokens = builder.maybe(response, "prompt_token_count", "inputTextTokenCount")
    results = [mapping(result) for result in items(response.get("results"))]
    output_tokens = builder.maybe(response, "generation_token_count", "totalOutputTextTokenCount")
    if output_tokens is None and results:
        output_tokens = sum(builder.count(result, "tokenCount") for result in results)
    if input_tokens is not None or output_tokens is not None:
        builder.has_usage = True
        builder.add("input", input_tokens or 0)
        builder.add("output", output_tokens or 0)


def fold_invoke(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A chunk: the vendor's event, possibly still wrapped as `{"chunk": {"bytes": base64}}`."""
    event = unwrapped(event)
    if isinstance(metrics := event.get(METRICS), dict):
        state[METRICS] = metrics
    for name in PICTURES & event.keys():
        if isinstance(event[name], list):
            state[name] = event[name]
    fold_converse(state, {"metadata": mapping(event.get("metadata"))})
    anthropic.fold_event(state, event)
    counts = ("prompt_token_count", "generation_token_count", "inputTextTokenCount", "totalOutputTextTokenCount")
    state.update(merge_counts(state, {name: event[name] for name in counts if name in event}))


def unwrapped(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The vendor's event in a chunk of InvokeModelWithResponseStream; any other event as it is."""
    event = first_mapping(event, "chunk") or event
    wrapped = event.get("bytes")
    if not isinstance(wrapped, str):
        return event
    try:
        return mapping(orjson.loads(base64.b64decode(wrapped)))
    except (binascii.Error, ValueError):
        return event


converse = Reader("bedrock.converse", read_converse, fold_converse, marks=MARKS)
invoke = Reader("bedrock.invoke", read_invoke, fold_invoke, marks=MARKS)
