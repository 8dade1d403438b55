"""The price conditions that a request already fixes. They only make a ceiling dearer: what is cheaper, an answer has to say."""

from __future__ import annotations

from collections.abc import Mapping

from pricing.values import NOTHING
from proxy.meters.host_table import charge_of
from proxy.types import Call

ORDINARY: Mapping[str, str] = {"service_tier": "default"}
# What is asked for at no more than the ordinary price; at times it is served at that.
_NO_DEARER = frozenset({"default", "standard", "standard_only", "on_demand", "flex", "batch"})
_CHEAP = frozenset({"free", "provisioned", "slow"})
_DEARER_WORDS = ("service_tier", "speed")
# Words by which only some models are served, at a price that the book has or has not (openai SDK 3.57
# `types/responses/service_tier.py`; groq 1.7, cerebras-cloud-sdk 1.91 `types/chat/completion_create_params.py`;
# Anthropic's docs: fast mode).
_SERVE_DEARER: Mapping[str, frozenset[str]] = {
    "openai": frozenset({"ultrafast"}), "azure": frozenset({"ultrafast"}), "groq": frozenset({"performance"}),
    "cerebras": frozenset({"priority"}), "anthropic": frozenset({"fast"}),
}  # fmt: skip
# Where a request that names no tier, or `auto`, is served as the account's project says
# (platform.openai.com/docs/guides/priority-processing: "set at the project level"), or as the deployment does
# (learn.microsoft.com/azure/foundry/openai/concepts/priority-processing: "enable priority processing at the deployment level",
# 2026-11); and which requests have one.
_BY_PROJECT = frozenset({"openai", "azure"})
_HAVE_TIERS = frozenset({"openai.chat", "openai.responses"})


def fixed_conditions(
    call: Call, requested: Mapping[str, str], provider: str, configured: str | None
) -> Mapping[str, str]:
    """The conditions that are known; what is left out may turn out to be the dearest there is.

    requested: what the request asks for, as far as a price depends on it. configured: the service tier that the operator says
    the account has.
    """
    tier = _asked(call)
    if tier is None:
        by_project = provider in _BY_PROJECT and call.dialect in _HAVE_TIERS
        tier = configured or (None if by_project else "default")
    is_ordinary = isinstance(tier, str) and tier.lower() in _NO_DEARER
    if not requested:
        return ORDINARY if is_ordinary else NOTHING
    others = {name: value for name, value in requested.items() if name != "service_tier"}
    return {**ORDINARY, **others} if is_ordinary else others


def dearer_unpriced(requested: Mapping[str, str], priced: Mapping[str, str], provider: str) -> str:
    """Why a tier or speed that a call asks for has no bound; "" where it has, or where nobody serves it.

    requested: its words; priced: those of them that a price depends on. Routers pass them on to whom they please, and hosts
    that state what they charged do as they like (openrouter.ai/docs/guides/features/service-tiers, 2026-11).
    """
    anybody = charge_of(provider) not in ("", "?")
    words = _SERVE_DEARER.get(provider, frozenset())
    if not (anybody or words):
        return ""
    for name, value in requested.items():
        dearer = value.lower() not in _NO_DEARER | _CHEAP if anybody else value.lower() in words
        if name in _DEARER_WORDS and name not in priced and dearer:
            return (
                f"`{name}` asks for {value[:40]!r}, which may cost more than the price here; leave it out or price it"
            )
    return ""


def may_be_ordinary(call: Call) -> bool:
    """Whether the client left the tier to others, so that we may ask for the ordinary one where money is short."""
    return _asked(call) is None and call.dialect in _HAVE_TIERS


def _asked(call: Call) -> object:
    """The tier that the request names; None where it names none, or leaves it to the provider."""
    tier = call.body.get("service_tier", call.body.get("serviceTier"))
    return None if tier == "auto" else tier
