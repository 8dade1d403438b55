"""Google's Gemini, on the Gemini API and on Vertex: generateContent, streams, embeddings, explicit caches, Live, media.

total = prompt + candidates + tool use + thoughts, in one variant of servers thoughts ⊂ candidates; the total tells
which. The counts are authoritative, the details by modality may be partial. Cached content is part of the prompt.
Shapes: google-genai 3.4 `types.GenerateContentResponseUsageMetadata`, `UsageMetadata` (Live), `GroundingMetadata`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from pricing.usage import Quantity
from proxy.meters.modality import MEDIA, split_input
from proxy.meters.openai_usage import read_usage
from proxy.meters.reader import Context, Reader, merge_counts, note_tier
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, number, text

MARKS = re.compile(rb'"(?:usageMetadata|usage_metadata|usage|groundingMetadata|error)"\s*:\s*\{')

_KINDS = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
_TRAFFIC_TIERS = {"ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex", "PROVISIONED_THROUGHPUT": "provisioned",
                  "ON_DEMAND_OFFPEAK": "offpeak"}  # fmt: skip
_PER_PROMPT_MODELS = re.compile(r"gemini-(?:1|2)(?:\.\d+)?-")


def by_kind(builder: ReadingBuilder, details: object) -> dict[str, Quantity]:
    """Token counts by kind of medium (documents are priced as images); text is under `text`."""
    counts: dict[str, Quantity] = {}
    for entry in items(details):
        detail = mapping(entry)
        modality = detail.get("modality")
        kind = _KINDS.get(modality.upper(), "text") if isinstance(modality, str) else "text"
        counts[kind] = counts.get(kind, 0) + builder.count(detail, "tokenCount")
    return counts


def read_metadata(usage: Mapping[str, Any], builder: ReadingBuilder) -> None:
    """Add one `usageMetadata` to `builder`."""
    names = ("promptTokenCount", "candidatesTokenCount", "responseTokenCount", "totalTokenCount", "thoughtsTokenCount")
    if not any(usage.get(name) is not None for name in names):
        return
    builder.has_usage = True
    prompt, tool = builder.count(usage, "promptTokenCount"), builder.count(usage, "toolUsePromptTokenCount")
    candidates = builder.count(usage, "candidatesTokenCount", "responseTokenCount")
    thoughts = builder.count(usage, "thoughtsTokenCount")
    total = builder.maybe(usage, "totalTokenCount")
    if total and usage.get("promptTokenCount") is None and total > tool + candidates + thoughts:
        prompt = total - tool - candidates - thoughts
    if usage.get("promptTokenCount") is None and not prompt and candidates:
        builder.flag("input_unknown")
        builder.partial = True
    _read_prompt(usage, prompt, tool, builder)
    counted = prompt + tool + candidates
    if thoughts and total == counted and thoughts <= candidates:
        candidates -= thoughts
    elif not thoughts and total is not None and total > counted:
        thoughts = total - counted  # servers that leave thinking out of all but the total
    media = by_kind(builder, usage.get("candidatesTokensDetails") or usage.get("responseTokensDetails"))
    builder.split(candidates, [(f"{kind}_out", media.get(kind, 0)) for kind in MEDIA], "output")
    builder.add("reasoning", thoughts)
    builder.check_total(total, prompt + tool + candidates + thoughts)
    note_tier(builder, usage.get("serviceTier"))
    note_tier(builder, _TRAFFIC_TIERS.get(text(usage.get("trafficType")) or ""))


def _read_prompt(usage: Mapping[str, Any], prompt: Quantity, tool: Quantity, builder: ReadingBuilder) -> None:
    details = by_kind(builder, usage.get("promptTokensDetails") or usage.get("promptTokenDetails"))
    tool_details = by_kind(builder, usage.get("toolUsePromptTokensDetails"))
    if sum(details.values()) > prompt or sum(tool_details.values()) > tool:
        builder.inconsistent()
    cached_media = by_kind(builder, usage.get("cacheTokensDetails"))
    split_input(
        builder,
        prompt + tool,
        media={kind: details.get(kind, 0) + tool_details.get(kind, 0) for kind in MEDIA},
        cached=builder.count(usage, "cachedContentTokenCount") or sum(cached_media.values()),
        cached_media=cached_media,
        writes={},
    )


def camel_case(value: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """The SDKs' snake_case names as the API's camelCase (down to the details)."""
    named = {}
    for name, inner in value.items():
        first, *rest = name.split("_")
        renamed = camel_case(inner, depth - 1) if isinstance(inner, dict) and depth else inner
        named["".join([first, *(word.capitalize() for word in rest)])] = renamed
    return named


def metadata_of(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """A response's usage metadata, in either spelling."""
    if isinstance(usage := response.get("usage_metadata"), dict):
        details = camel_case(usage)
        for name, value in details.items():
            if isinstance(value, list):
                details[name] = [camel_case(one) if isinstance(one, dict) else one for one in value]
        return details
    return mapping(response.get("usageMetadata"))


def read_generate(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A `GenerateContentResponse`."""
    response = _unwrapped(response)
    builder.model = served_model(response)
    read_metadata(metadata_of(response), builder)
    if not builder.has_usage:
        read_usage(mapping(response.get("usage")), context, builder)
    if response.get("candidates"):
        _read_grounding(response, builder.model or context.model, builder)


def _unwrapped(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Google's own gateways put into an envelope (Gemini Code Assist: `response`)."""
    inner = mapping(response.get("response"))
    return inner if "usageMetadata" in inner or "candidates" in inner else response


def served_model(response: Mapping[str, Any]) -> str | None:
    """The model that a response names, without its resource prefix."""
    name = text(response.get("modelVersion")) or text(response.get("model_version")) or text(response.get("model"))
    return name.rsplit("/", 1)[-1] if name else None


def _read_grounding(response: Mapping[str, Any], model: str, builder: ReadingBuilder) -> None:
    """Grounding with Search or Maps: Gemini 2 bills the grounded prompt once, Gemini 3 and later each query."""
    metadata = [mapping(mapping(candidate).get("groundingMetadata")) for candidate in items(response.get("candidates"))]
    queries: dict[str, None] = {}
    maps = searched = False
    for grounding in metadata:
        searches = [*items(grounding.get("webSearchQueries")), *items(grounding.get("imageSearchQueries"))]
        queries.update({query: None for query in searches if isinstance(query, str) and query.strip()})
        on_maps = bool(grounding.get("googleMapsWidgetContextToken")) or any(
            isinstance(mapping(chunk).get("maps"), dict) for chunk in items(grounding.get("groundingChunks"))
        )
        maps = maps or on_maps
        searched = searched or (bool(grounding.get("searchEntryPoint")) and not on_maps)
    unit = "grounding_maps" if maps and not searched else "grounding"
    if _PER_PROMPT_MODELS.search(model):
        builder.add(unit, 1 if queries or maps else 0)
    else:
        builder.add(unit, len(queries) or (1 if maps else 0))


def fold_chunk(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A chunk: usage is cumulative; grounding is repeated or comes in pieces, so every candidate's is kept."""
    event = _unwrapped(event)
    if event.get("modelVersion"):
        state["modelVersion"] = event["modelVersion"]
    if usage := metadata_of(event):
        state["usageMetadata"] = merge_counts(mapping(state.get("usageMetadata")), usage)
    elif isinstance(other := event.get("usage"), dict):
        state["usage"] = merge_counts(mapping(state.get("usage")), other)
    grounded = [
        one for one in items(event.get("candidates")) if isinstance(mapping(one).get("groundingMetadata"), dict)
    ]
    if grounded:
        state.setdefault("candidates", []).extend(grounded)


def read_live(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A Live session: each turn is billed by itself (its prompt is the session so far), so turns add up.

    A turn ends with `turnComplete` and its usage is cumulative; in a session without such marks every usage is a turn.
    """
    for turn in items(response.get("turns")):
        usages = [mapping(usage) for usage in items(turn)]
        if response.get("marked"):
            usages = [functools.reduce(merge_counts, usages, {})]
        for usage in usages:
            read_metadata(usage, builder)
    read_generate(response, context, builder)


def fold_live(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """A server message of a Live session."""
    turns: list[list[Any]] = state.setdefault("turns", [[]])
    if isinstance(usage := event.get("usageMetadata"), dict):
        turns[-1].append(usage)
    if isinstance(mapping(event.get("serverContent")).get("groundingMetadata"), dict):
        state.setdefault("candidates", []).append(event["serverContent"])
    if mapping(event.get("serverContent")).get("turnComplete"):
        state["marked"] = True
        turns.append([])


def _embeddings(response: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("predictions", "embeddings"):
        for entry in items(response.get(name)):
            yield mapping(mapping(entry).get("embeddings")) or mapping(entry)
    yield mapping(response.get("embedding"))


def read_embed(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """Embeddings: `usageMetadata` (with `promptTokenDetails`), or Vertex' statistics per embedding."""
    builder.model = served_model(response)
    read_metadata(mapping(response.get("usageMetadata")), builder)
    if builder.has_usage:
        return
    for embedding in _embeddings(response):
        statistics = mapping(embedding.get("statistics"))
        count = builder.maybe(statistics, "token_count", "tokenCount")
        if count is not None:
            builder.has_usage = True
            builder.add("input", count)


def read_cache(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """An explicit cache: tokens x hours from its creation to its expiry. Deleting it earlier costs less."""
    builder.model = served_model(response)
    tokens = builder.maybe(mapping(response.get("usageMetadata")), "totalTokenCount")
    seconds = _lifetime_s(response, context)
    if tokens is None or seconds is None:
        return
    builder.has_usage = True
    builder.add("token_hour", builder.read(Decimal(tokens) * seconds / 3600))


def _lifetime_s(response: Mapping[str, Any], context: Context) -> Decimal | None:
    if (kept := number(context.selector.get("duration_seconds"))) is not None:  # deleted before it expired
        return Decimal(max(kept, 0))
    created, expires = _instant(response.get("createTime")), _instant(response.get("expireTime"))
    if created is not None and expires is not None:
        delta = expires - created
        return max(Decimal(delta.days * 86400 + delta.seconds) + Decimal(delta.microseconds) / 1_000_000, Decimal(0))
    ttl = text(response.get("ttl")) or text(context.request.get("ttl"))
    if ttl and re.fullmatch(r"\d{1,9}(\.\d{1,9})?s", ttl, re.ASCII):
        return Decimal(ttl[:-1])
    return None


def _instant(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except ValueError:
        return None
    return instant if instant.tzinfo else None


def read_nothing(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """`countTokens` is free of charge."""
    builder.has_usage = True


generate = Reader("gemini", read_generate, fold_chunk, usage_key="usageMetadata", marks=MARKS)
live = Reader("gemini.live", read_live, fold_live, usage_key="usageMetadata", marks=MARKS)
embed = Reader("gemini.embed", read_embed, fold_chunk, usage_key="usageMetadata", marks=MARKS)
cached_contents = Reader("gemini.cachedContents", read_cache, usage_key="usageMetadata")
count_tokens = Reader("gemini.count_tokens", read_nothing)
