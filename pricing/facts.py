"""From what a call says about itself (its `conditions`) to the words that price rows use for it.

`service_tier`, `processing`, `speed`, `geo`, `size`, `quality`, `resolution`, … come from the response or the selector;
hosts, deployment types and model prefixes are turned into `region` here: `global`, `us`, `eu` or `regional`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# Conditions that can choose a price; everything else is not looked at (and must not fill caches).
RELEVANT = frozenset({
    "service_tier", "processing", "speed", "geo", "inference_geo", "data_residency", "base_url", "deployment_type", "zone",
    "vertex_location", "traffic_type", "region", "size", "quality", "resolution", "hardware", "gpus", "search_context_size",
    "endpoint", "steps", "mode", "audio", "duration", "search_type", "web_search", "latency", "route", "bedrock_region",
})  # fmt: skip

_TIERS = {"fast": "priority", "on_demand_priority": "priority", "on_demand_flex": "flex"}
_ORDINARY = {"default", "standard", "auto", "on_demand", "global", "not_available", "none", ""}
_VERTEX_HOST = re.compile(
    r"//[a-z0-9-]+-aiplatform\.|//aiplatform\.(?!eu\.|us\.)[a-z0-9-]+\.rep\.|/locations/(?!global/)[a-z0-9-]+/"
)
_HOST_REGION = re.compile(
    r"(?:^|//|\.)(eu|us)\.(?:api\.)?|api\.(eu|us)\.|//(eu|us)-|//([a-z]{2,})\.api\.openai\.com|//api\.([a-z]{2,})\.mistral\.ai"
)


def facts_of(provider: str, model: str, conditions: Mapping[str, str], endpoint: str | None) -> dict[str, str]:
    """The conditions in the words of price rows. `provider` is canonical, `model` in lower case."""
    facts = {name: value for name, value in conditions.items() if value.lower() not in _ORDINARY or name == "quality"}
    if endpoint:
        facts["endpoint"] = _endpoint(endpoint)
    tier = facts.get("service_tier") or conditions.get("traffic_type", "")
    if tier == "batch" or "batch" in conditions.get("deployment_type", "").lower():
        facts.pop("service_tier", None)
        facts["processing"] = "batch"
    elif tier in _TIERS and not (provider == "anthropic" and tier == "fast"):
        facts["service_tier"] = _TIERS[tier]
    if tier == "provisioned" or _is_provisioned(model, conditions):
        facts["processing"] = "provisioned"
    if provider == "openrouter" and model.endswith(":free"):
        facts["processing"] = "free"
    if "region" not in facts and (region := _region(provider, model, conditions)):
        facts["region"] = region
    return facts


def _is_provisioned(model: str, conditions: Mapping[str, str]) -> bool:
    return (
        "provisioned" in conditions.get("deployment_type", "").lower()
        or conditions.get("traffic_type", "").lower() == "provisioned_throughput"
        or ":provisioned-model/" in model
    )


def _endpoint(endpoint: str) -> str:
    """The last word of a path: `/v1/decisions` is `decisions`."""
    return endpoint.split("?", maxsplit=1)[0].rstrip("/").replace(":", "/").rsplit("/", 1)[-1].lower()


def _region(provider: str, model: str, conditions: Mapping[str, str]) -> str:
    deployment = conditions.get("deployment_type", "").lower().replace("_", "").replace("-", "").replace(" ", "")
    if deployment.startswith("global"):
        return ""
    if deployment.startswith("datazone") and not conditions.get("zone"):
        return "us"
    for name in ("geo", "inference_geo", "data_residency", "zone"):
        value = conditions.get(name, "").lower()
        if value and value not in _ORDINARY:
            return value
    if (location := conditions.get("vertex_location", "").lower()) and location != "global":
        return location if location in ("us", "eu") else "regional"
    if _VERTEX_HOST.search(conditions.get("base_url", "").lower()) is not None:
        return "regional"
    if (match := _HOST_REGION.search(conditions.get("base_url", "").lower())) is not None:
        return next(group for group in match.groups() if group)
    return ""
