"""A usage object of OpenAI's shape, whoever writes it: totals of both sides, and what they are made of.

Cached tokens and cache writes are parts of the prompt, reasoning and predictions parts of the completion. Where a host
counts reasoning beside the completion, `total_tokens` shows it: total = prompt + completion + reasoning.
Shape: openai-openapi `CompletionUsage`. What hosts do differently is data: `Host`, and the table in `host_table.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pricing.usage import Quantity
from pricing.values import frozen
from proxy.meters.charges import read_charge
from proxy.meters.host_table import row_of
from proxy.meters.modality import MEDIA, split_input
from proxy.meters.places import in_openais_words
from proxy.meters.reader import Context, first_mapping
from proxy.meters.reading_builder import IMPLAUSIBLE_COUNT, ReadingBuilder, mapping, number

INPUT_NAMES = ("prompt_tokens", "input_tokens")
OUTPUT_NAMES = ("completion_tokens", "output_tokens")
_COUNTS = (*INPUT_NAMES, *OUTPUT_NAMES)
INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")

_MEDIA = tuple((kind, f"{kind}_tokens") for kind in MEDIA)
_CACHED_MEDIA = tuple((kind, (f"{kind}_tokens", f"cached_{kind}_tokens")) for kind in MEDIA)
# Claude behind an OpenAI-shaped host: Anthropic's names, beside or instead of the details.
_READ_NAMES = ("cache_read_input_tokens", "cache_read_tokens")
_WRITTEN_NAMES = (
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
    "cache_creation_tokens",
    "cache_write_tokens",
)
# How long writes are kept: OpenAI's, Anthropic's, and LiteLLM's name for these.
_BY_TTL = ("cache_write_tokens_details", "cache_creation", "cache_creation_token_details")
_CACHED_TEXT = ("text_tokens", "cached_text_tokens")


@frozen
class Host:
    """What a host does differently within the OpenAI shape.

    reasoning: where reasoning tokens stand if `total_tokens` does not tell: within the completion, or beside it;
        `always beside` even against the total.
    cached: names outside the details where cached tokens may stand (repeats of one number).
    cache_write: the unit of cache writes. charge: the name of what the host says it charged. These four are the table's
        (`host_table.py`).
    output: the unit of output that is not broken out.
    generates: whether what a total has beyond the prompt may be output; else it is prompt too.
    more: reads what else the host puts into its usage object (tool calls).
    """

    reasoning: Literal["within", "beside", "always beside"] = "within"
    cached: tuple[str, ...] = ("cached_tokens",)
    cache_write: str = "cache_write_5m"
    charge: str = ""
    output: str = "output"
    generates: bool = True
    more: Callable[[Mapping[str, Any], Context, ReadingBuilder], None] | None = None


OPENAI = Host(cache_write="cache_write_30m")
IMAGE_MODEL = Host(output="image_out")
EMBEDDING = Host(generates=False)


@functools.lru_cache(maxsize=256)
def host_of(provider: str) -> Host:
    """A host by its row in the table, where it has no reader of its own."""
    row = row_of(provider)
    return Host(row.reasoning, row.cached, row.writes, row.charge) if provider else OPENAI


@frozen
class _Stated:
    """A usage object, opened: the totals of both sides and the objects that break them down."""

    usage: Mapping[str, Any]
    input_tokens: Quantity
    output_tokens: Quantity
    total: Quantity | None
    inside: Mapping[str, Any]
    outside: Mapping[str, Any]


_PLAIN = {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}


def read_plainly(usage: Mapping[str, Any], builder: ReadingBuilder, host: Host) -> bool:
    """The usage of nearly every call (consistent text, perhaps cached, perhaps with reasoning), read at a fifth of the
    cost; False, and nothing read, where anything about it is out of the ordinary."""
    input_tokens, output_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if (
        host.output != "output"
        or host.more
        or type(input_tokens) is not int
        or type(output_tokens) is not int
        or usage.get("total_tokens") != input_tokens + output_tokens
    ):
        return False
    cached = _only(usage.get("prompt_tokens_details"), "cached_tokens")
    reasoning = _only(usage.get("completion_tokens_details"), "reasoning_tokens")
    if not (
        0 <= cached <= input_tokens < IMPLAUSIBLE_COUNT
        and 0 <= reasoning <= output_tokens < IMPLAUSIBLE_COUNT
        and _PLAIN.issuperset(usage)
    ):
        return False
    builder.has_usage = True
    counted = builder.usage
    if cached:
        counted["cache_read"] = cached
    if input_tokens > cached:
        counted["input"] = input_tokens - cached
    if reasoning:
        counted["reasoning"] = reasoning
    if output_tokens > reasoning:
        counted["output"] = output_tokens - reasoning
    return True


def _only(details: object, name: str) -> int:
    """The count `name` of a breakdown that has nothing else above 0; -1 where it is not that simple."""
    if not details:
        return 0
    if not isinstance(details, dict):
        return -1
    for other, count in details.items():
        if count and other != name:
            return -1
    value = details.get(name) or 0
    return value if type(value) is int else -1


def read_usage(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder, host: Host = OPENAI) -> None:
    """Add one OpenAI-shaped usage object to `builder`."""
    if not builder.usage and read_plainly(usage, builder, host):
        return
    if host.more:
        host.more(usage, context, builder)
    read_charge(usage, host.charge, builder)
    input_tokens, output_tokens = builder.maybe(usage, *INPUT_NAMES), builder.maybe(usage, *OUTPUT_NAMES)
    total = builder.maybe(usage, "total_tokens")
    if input_tokens is None and output_tokens is None:
        input_tokens = total  # embedding servers that state nothing else
        if input_tokens is None:
            if (named := in_openais_words(usage)) is not usage:
                read_usage(named, context, builder, host)
            return
    builder.has_usage = True
    if total and not input_tokens and not _has_count(usage, INPUT_NAMES):  # negative, or no number: the total tells
        input_tokens = None
    if total and not output_tokens and not _has_count(usage, OUTPUT_NAMES):
        output_tokens = None
    if input_tokens is None:
        input_tokens = _missing_input(builder, total, output_tokens or 0)
    elif output_tokens is None and total is not None and total > input_tokens:
        if not host.generates:
            builder.inconsistent()
            input_tokens = total
        else:
            output_tokens = total - input_tokens  # an output count that is null or absent: the total tells
    input_tokens += _cache_beside(usage, input_tokens, output_tokens or 0, total, builder)
    inside, outside = first_mapping(usage, *INPUT_DETAILS), first_mapping(usage, *OUTPUT_DETAILS)
    stated = _Stated(usage, input_tokens, output_tokens or 0, total, inside, outside)
    _read_input(stated, context, builder, host)
    beside = _read_output(stated, context, builder, host)
    builder.check_total(total, stated.input_tokens + stated.output_tokens + beside)


def _cache_beside(
    usage: Mapping[str, Any],
    input_tokens: Quantity,
    output_tokens: Quantity,
    total: Quantity | None,
    builder: ReadingBuilder,
) -> Quantity:
    """Cache reads and writes that stand beside the prompt, as Anthropic counts them: where the prompt is too small to hold
    them, or the total says so."""
    if not any(usage.get(name) for name in (*_READ_NAMES, *_WRITTEN_NAMES)):
        return 0
    cache = builder.count(usage, *_READ_NAMES) + builder.count(usage, *_WRITTEN_NAMES)
    plain = input_tokens + output_tokens
    beside = total == plain + cache if total and total != plain else cache > input_tokens
    return cache if beside else 0


def _has_count(usage: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    """Whether one of the names says a count, be it 0."""
    return any((count := number(usage.get(name))) is not None and count >= 0 for name in names)


def _missing_input(builder: ReadingBuilder, total: Quantity | None, output_tokens: Quantity) -> Quantity:
    if total is not None and total >= output_tokens:
        return total - output_tokens
    builder.flag("input_unknown")
    builder.partial = True
    return 0


def _read_input(stated: _Stated, context: Context, builder: ReadingBuilder, host: Host) -> None:
    usage, details = stated.usage, stated.inside
    cached = builder.largest(
        builder.count(details, "cached_tokens", *_READ_NAMES),
        *[
            builder.count(usage, name)
            for name in (*host.cached, *(name for name in _READ_NAMES if name not in host.cached))
        ],
    )
    writes = _cache_writes(stated, context, builder, host)
    if not details:
        split_input(builder, stated.input_tokens, media={}, cached=cached, cached_media={}, writes=writes)
        return
    by_kind = mapping(details.get("cached_tokens_details"))
    cached_media = {kind: builder.count(by_kind, *names) for kind, names in _CACHED_MEDIA} if by_kind else {}
    split_input(
        builder,
        stated.input_tokens,
        media={kind: builder.count(details, name) for kind, name in _MEDIA},
        cached=cached or builder.count(by_kind, *_CACHED_TEXT) + sum(cached_media.values()),
        cached_media=cached_media,
        writes=writes,
    )


def _cache_writes(stated: _Stated, context: Context, builder: ReadingBuilder, host: Host) -> dict[str, Quantity]:
    """Cache writes by unit. How long they are kept is in newer usage objects, before that only in the request."""
    usage, details = stated.usage, stated.inside
    written = builder.count(details, "cache_write_tokens", *_WRITTEN_NAMES) or builder.count(usage, *_WRITTEN_NAMES)
    if not written:
        return {}
    by_ttl = first_mapping(details, *_BY_TTL) or first_mapping(usage, *_BY_TTL)
    long = builder.count(by_ttl, "ttl_12h_tokens", "ephemeral_1h_input_tokens")
    if long > written:
        builder.inconsistent()
    if not by_ttl and _asks_for_long_cache(context):
        long = written
    long = min(long, written)
    short_unit = OPENAI.cache_write if (builder.model or context.model).startswith("openai/") else host.cache_write
    return {"cache_write_1h": long, short_unit: written - long}


def _asks_for_long_cache(context: Context) -> bool:
    """Whether the request has its cache kept for hours (12 h is billed as the long write, `cache_write_1h`)."""
    wanted = (
        mapping(context.request.get("prompt_cache_options")).get("ttl"),
        context.request.get("prompt_cache_retention"),
        *(value for name, value in context.selector.items() if "cache" in name or "retention" in name),
    )
    return "12h" in wanted


def _read_output(stated: _Stated, context: Context, builder: ReadingBuilder, host: Host) -> Quantity:
    """Deal out the output side; what comes back is how many tokens the total counts beside prompt and completion."""
    details, counted = stated.outside, stated.input_tokens + stated.output_tokens
    reasoning = builder.count(details, "reasoning_tokens") or builder.count(stated.usage, "reasoning_tokens")
    beside = _reasoning_beside(stated, reasoning, host)
    if not reasoning and stated.total is not None and stated.total > counted and _thinks_in_total_only(context):
        reasoning, beside = stated.total - counted, True
    parts = [(f"{kind}_out", builder.count(details, name)) for kind, name in _MEDIA] if details else []
    if host.output != "output":
        parts.append(("output", builder.count(details, "text_tokens")))
    builder.split(stated.output_tokens, parts if beside else [*parts, ("reasoning", reasoning)], host.output)
    if not beside:
        return 0
    builder.add("reasoning", reasoning)
    return 0 if host.reasoning == "always beside" else reasoning


def _reasoning_beside(stated: _Stated, reasoning: Quantity, host: Host) -> bool:
    """The total settles whether reasoning is part of the completion; where it does not, the host's habit does."""
    if not reasoning or host.reasoning == "always beside":
        return bool(reasoning)
    total = stated.total or None  # 0 is how some servers leave it out
    if total == stated.input_tokens + stated.output_tokens + reasoning:
        return True
    if total == stated.input_tokens + stated.output_tokens:
        return False
    return host.reasoning == "beside" or (total is None and reasoning > stated.output_tokens)


def _thinks_in_total_only(context: Context) -> bool:
    """Gemini behind its OpenAI-compatible endpoint: thinking shows only as total - prompt - completion."""
    return context.provider.startswith(("google", "gemini", "vertex")) or "gemini" in context.model
