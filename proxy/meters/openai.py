"""OpenAI's Chat Completions, Completions and Embeddings, and the many servers that speak them in their own way.

Cached tokens and cache writes are parts of the prompt, reasoning and predictions parts of the completion. Where a host
counts reasoning beside the completion, `total_tokens` shows it: total = prompt + completion + reasoning.
Shape: openai-openapi `CompletionUsage`; the hosts' own fields: `Host` below, with where each was seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pricing.usage import Quantity
from proxy.meters.modality import MEDIA, split_input
from proxy.meters.reader import Context, Reader, merge_counts
from proxy.meters.tally import Tally, mapping, text

INPUT_NAMES = ("prompt_tokens", "input_tokens")
OUTPUT_NAMES = ("completion_tokens", "output_tokens")
INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")

# `"usage":null` stands in every chunk of a stream that asked for usage; only an object is worth parsing.
USAGE_MARKS = re.compile(rb'"usage"\s*:\s*\{')


@dataclass(frozen=True, slots=True)
class Host:
    """What a host does differently within the OpenAI shape.

    reasoning: where reasoning tokens stand if `total_tokens` does not tell: within the completion, or beside it;
        `always beside` even against the total.
    cached: names outside the details where cached tokens may stand (repeats of one number).
    cache_write: the unit of cache writes. output: the unit of output that is not broken out.
    """

    reasoning: Literal["within", "beside", "always beside"] = "within"
    cached: tuple[str, ...] = ()
    cache_write: str = "cache_write_5m"
    output: str = "output"


def first_mapping(source: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """The first of `names` that holds an object; an empty one where none does."""
    for name in names:
        if isinstance(value := source.get(name), dict):
            return value
    return mapping(None)


def read_usage(usage: Mapping[str, Any], context: Context, tally: Tally, host: Host) -> None:
    """Add one OpenAI-shaped usage object to `tally`."""
    given, taken = tally.maybe(usage, *INPUT_NAMES), tally.maybe(usage, *OUTPUT_NAMES)
    if given is None and taken is None:
        return
    tally.found = True
    inside, outside = first_mapping(usage, INPUT_DETAILS), first_mapping(usage, OUTPUT_DETAILS)
    total = tally.maybe(usage, "total_tokens")
    if given is None:
        given = _missing_input(tally, total, taken)
    taken = taken or 0
    read_input(usage, inside, given, tally, host)
    reasoning = tally.count(outside, "reasoning_tokens") or tally.count(usage, "reasoning_tokens")
    beside = _reasoning_beside(given, taken, reasoning, total, host)
    if not reasoning and total is not None and total > given + taken and _counts_thoughts_in_total_only(context):
        reasoning, beside = total - given - taken, True
    media = [(f"{kind}_out", tally.count(outside, f"{kind}_tokens")) for kind in MEDIA]
    within = [] if beside else [("reasoning", reasoning)]
    tally.split(taken, [*media, *within], host.output)
    if beside:
        tally.add("reasoning", reasoning)
    tally.check_total(total, given + taken + (reasoning if beside and host.reasoning != "always beside" else 0))


def _missing_input(tally: Tally, total: Quantity | None, taken: Quantity | None) -> Quantity:
    if total is not None and taken is not None and total >= taken:
        return total - taken
    tally.flag("input_unknown")
    tally.partial = True
    return 0


def read_input(usage: Mapping[str, Any], details: Mapping[str, Any], given: Quantity, tally: Tally, host: Host) -> None:
    """Deal out the input side of an OpenAI-shaped usage object."""
    cached_details = mapping(details.get("cached_tokens_details"))
    cached_media = {kind: tally.count(cached_details, f"{kind}_tokens") for kind in MEDIA}
    cached = tally.largest(
        tally.count(details, "cached_tokens"), *(tally.count(usage, name) for name in host.cached)
    ) or tally.count(cached_details, "text_tokens") + sum(cached_media.values())
    split_input(
        tally,
        given,
        media={kind: tally.count(details, f"{kind}_tokens") for kind in MEDIA},
        cached=cached,
        cached_media=cached_media,
        writes={host.cache_write: tally.count(details, "cache_write_tokens")},
    )


def _reasoning_beside(
    given: Quantity, taken: Quantity, reasoning: Quantity, total: Quantity | None, host: Host
) -> bool:
    if not reasoning or host.reasoning == "always beside":
        return bool(reasoning)
    if total == given + taken + reasoning:
        return True
    if total == given + taken:
        return False
    return host.reasoning == "beside" or (total is None and reasoning > taken)


def _counts_thoughts_in_total_only(context: Context) -> bool:
    """Gemini behind its OpenAI-compatible endpoint: thinking shows only as total - prompt - completion."""
    return context.provider.startswith(("google", "gemini", "vertex")) or "gemini" in context.model


def read_envelope(response: Mapping[str, Any], context: Context, tally: Tally) -> None:
    """The served model and tier, which stand beside the usage."""
    tally.model = text(response.get("model"))
    tally.condition("service_tier", context.service_tier)
    tally.condition("service_tier", response.get("service_tier"))


def chat_reader(dialect: str, host: Host) -> Reader:
    """A reader of Chat Completions (or Completions) as `host` speaks it."""

    def read(response: Mapping[str, Any], context: Context, tally: Tally) -> None:
        read_envelope(response, context, tally)
        own = host if "/images/" not in context.endpoint else Host(output="image_out")
        read_usage(mapping(response.get("usage")), context, tally, own)

    return Reader(dialect, read, fold_chunk, marks=USAGE_MARKS)


def fold_chunk(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A chunk of a stream. Usage comes in the last one (`choices: []`), in every one (cumulative), or twice."""
    for name in ("model", "service_tier"):
        if text(value := event.get(name)):
            state[name] = value
    if isinstance(usage := event.get("usage"), dict):
        state["usage"] = merge_counts(mapping(state.get("usage")), usage)


OPENAI = Host(cache_write="cache_write_30m")

chat = chat_reader("openai.chat", OPENAI)
completions = chat_reader("openai.completions", OPENAI)
embeddings = chat_reader("openai.embeddings", OPENAI)
