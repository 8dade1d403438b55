"""Importer of LiteLLM's `model_prices_and_context_window` JSON (MIT): media, jobs, tools, regions, service tiers.

It is read as a data file; the package is never imported. It knows no dates: its prices hold for the day it was made.
An explicit 0 is often a gap there, so 0 is taken for a price only where everything of a model is free.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pricing.catalog import Limits
from pricing.price import Price, Row, Tier
from pricing.sources.offer import Offer

_TOKENS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "citation_cost_per_token": "citation",
    "cache_read_input_token_cost": "cache_read",
    "explicit_cache_read_input_token_cost": "cache_read_explicit",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_creation_input_token_cost_above_12hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_image_token": "image_out",
    "cache_read_input_image_token_cost": "cache_read_image",
    "input_cost_per_video_token": "video_in",
    "output_cost_per_video_token": "video_out",
}
_THINGS = {
    "input_cost_per_character": "character",
    "ocr_cost_per_page": "page",
    "annotation_cost_per_page": "annotated_page",
    "ocr_cost_per_credit": "credit",
    "input_cost_per_request": "request",
    "input_cost_per_text_message": "text_message",
    "google_maps_grounding_cost_per_query": "grounding_maps",
    "code_interpreter_cost_per_session": "code_session",
    "output_cost_per_image": "image",
    "output_cost_per_video_per_second": "video_second",
}
_BY_SIZE = re.compile(r"output_cost_per_(second|image)_(\d+(?:\.\d+)?[pk]|\d+)$", re.IGNORECASE)
_TIER = re.compile(r"_above_(\d+)k_tokens")
_VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "_batches": {"processing": ("batch",)},
    "_flex": {"service_tier": ("flex",)},
    "_priority": {"service_tier": ("priority",)},
    "_ultrafast": {"service_tier": ("ultrafast",)},
    "_balanced": {"service_tier": ("balanced",)},
    "_decisions": {"endpoint": ("decisions",)},
}
_INCLUSIVE = {"xai"}

PROVIDERS = {
    "bedrock": "aws", "bedrock_converse": "aws", "bedrock_mantle": "aws", "amazon_nova": "aws", "aws_polly": "aws",
    "transcribe": "aws", "azure_ai": "azure", "azure_text": "azure", "gemini": "google", "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks", "together_ai": "together", "cohere_chat": "cohere",
    "text-completion-openai": "openai", "text-completion-codestral": "mistral", "codestral": "mistral",
    "runwayml": "runway", "fal_ai": "fal", "bigmodel": "zhipuai", "lambda_ai": "lambda", "meta_llama": "meta",
}  # fmt: skip
# Copies of others, local servers, and what is no provider of models.
_LEFT_OUT = {
    "deepseek", "qwencloud", "qwen_ai_platform", "ollama", "lemonade", "chatgpt", "sagemaker", "zerogpu", "strands_decider",
    "microsoft_365_copilot", "agentcore",
}  # fmt: skip
_WRITES_30M = {"openai", "azure", "moonshot"}
_QUALITIES = {"low", "medium", "high", "hd", "standard", "auto", "max"}
_SIZE = re.compile(r"(\d{2,4})-x-(\d{2,4})")
_PREFIXES = {
    "google-vertex": ("vertex_ai",),
    "aws": ("bedrock", "amazon-nova"),
    "openai": ("openai",),
    "azure": ("azure",),
}
_REGIONS = {"eu": "eu", "us": "us", "global": "", "global-standard": ""}
_FREE = re.compile(r"moderation|gemma")

_Group = tuple[tuple[str, tuple[str, ...]], ...]


def offers(path: Path, checked: str, version: str) -> list[Offer]:
    """All models of the file."""
    data = json.loads(path.read_text(), parse_float=Decimal)
    if not isinstance(data, dict):
        raise ValueError(f"{path.name} is not a JSON object of models")
    made: dict[tuple[str, str], Offer] = {}
    for key, raw in data.items():
        place = _place(key, str(raw.get("litellm_provider")), raw) if isinstance(raw, dict) else None
        if place is None:
            continue
        provider, model, when = place
        limits = Limits(_count(raw.get("max_input_tokens")), _count(raw.get("max_output_tokens")))
        if provider == "perplexity" and model.startswith("sonar"):
            continue
        offer = made.setdefault((provider, model), Offer(provider, model, (), limits))
        offer.rows += _rows(provider, model, when, raw, f"litellm {version}", checked)
    return [offer for offer in made.values() if offer.rows]


def _place(key: str, host: str, raw: Mapping[str, Any]) -> tuple[str, str, dict[str, tuple[str, ...]]] | None:
    """Provider, model and conditions that a key such as `azure/eu/gpt-5.4` or `hd/1024-x-1024/dall-e-3` stands for."""
    if host in _LEFT_OUT or key == "sample_spec" or "commitment" in key or "*" in key:
        return None
    provider = "google-vertex" if host.startswith("vertex_ai") else PROVIDERS.get(host, host).replace("_", "-")
    parts = key.lower().split("/")
    prefixes = {host.lower(), *_PREFIXES.get(provider, ())}
    when: dict[str, tuple[str, ...]] = {}
    while len(parts) > 1:
        head = parts[0]
        if provider == "azure" and head in _REGIONS:
            if _REGIONS[head]:
                when["region"] = (_REGIONS[head],)
        elif head in _QUALITIES:
            when["quality"] = (head, "") if head == "standard" else (head,)
        elif (size := _SIZE.fullmatch(head)) is not None:
            made = f"{size[1]}x{size[2]}"
            when["size"] = (made, "") if made == "1024x1024" and "dall-e" in key else (made,)
        elif head.endswith("-steps"):
            when["steps"] = (head,)
        elif head in prefixes:
            prefixes = set()  # `fal_ai/fal-ai/…`: the second one belongs to the name
        else:
            break
        parts = parts[1:]
    if provider == "aws" and re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", parts[0]) and len(parts) > 1:
        when["bedrock_region"] = (parts[0],)
        parts = parts[1:]
    name = "/".join(parts).removeprefix("accounts/fireworks/models/")
    return provider, name, when


def _rows(
    provider: str, model: str, when: Mapping[str, tuple[str, ...]], raw: Mapping[str, Any], source: str, checked: str
) -> Iterator[Row]:
    groups: dict[_Group, dict[int, dict[str, Price]]] = {}
    for name, value in raw.items():
        for unit, price, above, more in _prices(provider, model, name, value, raw):
            group = tuple(sorted({**when, **more}.items()))
            groups.setdefault(group, {}).setdefault(above, {})[unit] = price
    for entry in raw.get("tiered_pricing") or ():
        above = int(entry["range"][0]) if "range" in entry else 0
        for name, value in entry.items():
            for unit, price, _, more in _prices(provider, model, name, value, raw):
                group = tuple(sorted({**when, **more}.items()))
                groups.setdefault(group, {}).setdefault(above, {})[unit] = price
    _images_by_pixel(when, raw, groups)
    free = _FREE.search(model) is not None
    for group, tiers in groups.items():
        for prices in tiers.values():
            _tidy(prices, keep_zero=free or ("endpoint", ("decisions",)) in group)
        base = tiers.pop(0, {})
        ladder = tuple(Tier(over, tiers[over], provider in _INCLUSIVE) for over in sorted(tiers) if tiers[over])
        if base or ladder:
            yield Row(provider, model, base, ladder, when=dict(group), source=source, checked=checked)


def _prices(
    provider: str, model: str, name: str, value: Any, raw: Mapping[str, Any]
) -> Iterator[tuple[str, Price, int, Mapping[str, tuple[str, ...]]]]:
    """Unit, price, tier and conditions of one field; nothing where it is no price."""
    if name == "search_context_cost_per_query" and isinstance(value, dict):
        yield from _searches(provider, model, value)
        return
    if not isinstance(value, int | Decimal) or isinstance(value, bool) or "cost" not in name:
        return
    value = Decimal(value)
    more: Mapping[str, tuple[str, ...]] = {}
    for suffix, condition in _VARIANTS.items():
        if name.endswith(suffix):
            name, more = name.removesuffix(suffix), condition
    above = 0
    if (tier := _TIER.search(name)) is not None:
        above = int(tier[1]) * 1000
        name = name.replace(tier[0], "")
    if name in _TOKENS:
        unit = _TOKENS[name]
        if unit == "cache_write_5m" and provider in _WRITES_30M and "claude" not in model:
            unit = "cache_write_30m"
        if unit != "cache_read_explicit":
            yield unit, Price(_per_million(value, provider), 10**6), above, more
    elif name == "input_cost_per_character":
        yield "character", Price((value * 10**6).normalize(), 10**6), above, more
    elif name in _THINGS:
        yield _THINGS[name], Price(value.normalize(), 1), above, more
    elif name == "input_cost_per_query" and raw.get("mode") == "rerank":
        yield "search_unit", Price(value.normalize(), 1), above, more
    elif name == "input_cost_per_image" and raw.get("mode") in ("image_generation", "image_edit", "embedding"):
        yield "image", Price(value.normalize(), 1), above, more
    elif name == "input_cost_per_second" and raw.get("mode") in ("audio_transcription", "realtime", "audio_speech"):
        yield "audio_second", _per_second(value), above, more
    elif name == "output_cost_per_second" and raw.get("mode") == "video_generation":
        yield "video_second", Price(value.normalize(), 1), above, more
    elif (size := _BY_SIZE.fullmatch(name)) is not None:
        unit = "video_second" if size[1] == "second" else "image"
        yield unit, Price(value.normalize(), 1), above, {**more, "resolution": (size[2].lower(),)}


def _searches(
    provider: str, model: str, value: Mapping[str, Any]
) -> Iterator[tuple[str, Price, int, Mapping[str, tuple[str, ...]]]]:
    by_size = {name.rsplit("_", 1)[-1]: Decimal(price) for name, price in value.items()}
    gemini = provider in ("google", "google-vertex") and not model.startswith("claude")
    unit = "grounding" if gemini else "web_search"
    for size, price in by_size.items():
        if len(set(by_size.values())) == 1:
            if size == "medium" and price:
                yield unit, Price((price * 1000).normalize(), 1000), 0, {}
        elif price:
            where = (size, "") if size == "medium" else (size,)
            yield unit, Price((price * 1000).normalize(), 1000), 0, {"search_context_size": where}


def _images_by_pixel(
    when: Mapping[str, tuple[str, ...]], raw: Mapping[str, Any], groups: dict[_Group, dict[int, dict[str, Price]]]
) -> None:
    """An image's price from that of a pixel, where only that is stated."""
    size = _SIZE.fullmatch(when["size"][0].replace("x", "-x-")) if "size" in when else None
    group = tuple(sorted(when.items()))
    if size is None or "image" in groups.get(group, {}).get(0, {}):
        return
    each = raw.get("input_cost_per_pixel") or raw.get("output_cost_per_pixel")
    if each:
        usd = round(Decimal(each) * int(size[1]) * int(size[2]), 4).normalize()
        groups.setdefault(group, {}).setdefault(0, {})["image"] = Price(usd, 1)


def _per_million(value: Decimal, provider: str) -> Decimal:
    """USD per million tokens; Databricks' were converted from DBU and are some millionths off."""
    usd = value * 10**6
    return (round(usd, 3) if provider == "databricks" else usd).normalize()


def _per_second(value: Decimal) -> Price:
    """A price by the second, as the one by the hour or minute that it was rounded from."""
    for per, places in ((3600, 3), (60, 5)):
        whole = round(value * per, places)
        if whole and abs(whole - value * per) <= whole * Decimal("0.0002"):
            return Price(whole.normalize(), per)
    return Price(value.normalize(), 1)


def _tidy(prices: dict[str, Price], *, keep_zero: bool) -> None:
    """Drop zeros that are gaps, and prices that repeat their parent's."""
    if not keep_zero:
        for unit in [unit for unit, price in prices.items() if not price.usd]:
            del prices[unit]
    for unit, parent in (("reasoning", "output"), ("image_in", "input"), ("audio_in", "input"), ("video_in", "input")):
        if unit in prices and prices[unit] == prices.get(parent):
            del prices[unit]


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | Decimal) and value > 0 else None
