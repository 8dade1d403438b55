"""What FOCUS calls things: the columns of a Cost and Usage table, and the names of units. Pure.

Sources: the FOCUS 1.4 and 1.2 column lists (focus.finops.org, read 2026-11); the meters' names and the token classes are those
that the draft of 1.5 has for AI (FOCUS_Spec, SkuPriceDetails), under `x_` until it is ratified.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pricing.units import TOKENS, UNITS

Version = Literal["1.4", "1.2"]
VERSIONS: tuple[Version, ...] = ("1.4", "1.2")

_SHARED = (
    "BillingAccountId", "BillingAccountName", "BillingAccountType", "SubAccountId", "SubAccountName", "SubAccountType",
    "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass",
    "ChargeDescription", "ChargeFrequency", "BillingCurrency", "BilledCost", "EffectiveCost", "ListCost", "ContractedCost",
    "ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ConsumedQuantity",
    "ConsumedUnit", "InvoiceId", "InvoiceIssuerName",
)  # fmt: skip
_SERVICE = (
    "ServiceName", "ServiceCategory", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId", "SkuPriceDetails", "ResourceId",
    "ResourceName", "ResourceType", "Tags",
)  # fmt: skip
_OURS = ("x_PrincipalId", "x_ConsumerId", "x_CostSource", "x_ConsumedTokens")

COLUMNS: dict[Version, tuple[str, ...]] = {
    "1.4": (
        *_SHARED, "ServiceProviderName", "HostProviderName", *_SERVICE, "AllocatedMethodId", "AllocatedResourceId",
        "AllocatedResourceName", *_OURS,
    ),
    "1.2": (*_SHARED, "ProviderName", "PublisherName", *_SERVICE, *_OURS),
}  # fmt: skip

DECIMALS = frozenset(
    {"BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ListUnitPrice", "ContractedUnitPrice", "PricingQuantity",
     "ConsumedQuantity", "x_ConsumedTokens"}
)  # fmt: skip
TIMES = frozenset({"BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"})

_METERS = {
    "input": "Input Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Output Tokens",
    "cache_read": "Cache Read Input Tokens",
    "cache_write_5m": "Cache Write Input Tokens",
    "cache_write_30m": "Cache Write Input Tokens",
    "cache_write_1h": "Cache Write Input Tokens",
    "cache_read_audio": "Cache Read Audio Input Tokens",
    "cache_read_image": "Cache Read Image Input Tokens",
    "cache_read_video": "Cache Read Video Input Tokens",
    "audio_in": "Audio Input Tokens",
    "image_in": "Image Input Tokens",
    "video_in": "Video Input Tokens",
    "audio_out": "Audio Output Tokens",
    "image_out": "Image Output Tokens",
    "video_out": "Video Output Tokens",
    "citation": "Citation Tokens",
    "token_hour": "Context Cache Storage",
}
_COUNTED_IN = {"token_hour": "Token-Hours", "reported": "USD"}


class Meter(NamedTuple):
    """name: FOCUS's SkuMeter. unit: what it is counted in, in the plural. direction, cache: of tokens (see `meter_of`)."""

    name: str
    unit: str
    direction: str | None = None
    cache: str | None = None


def meter_of(unit: str) -> Meter:
    """How FOCUS calls one of our units. Direction is Input or Output; the cache's action is said of input alone, and of
    nothing that mixes directions or is kept by the hour."""
    name = _METERS.get(unit) or _plural(unit.replace("_", " ").title())
    if unit not in TOKENS:
        return Meter(name, _COUNTED_IN.get(unit) or _counted_in(unit))
    side = UNITS[unit].side
    if side != "in":
        return Meter(name, "Tokens", "Output" if side == "out" else None)
    cache = "Read" if unit.startswith("cache_read") else "Write" if unit.startswith("cache_write") else "Uncached"
    return Meter(name, "Tokens", "Input", cache)


def _counted_in(unit: str) -> str:
    """A second is a second, of whatever."""
    return "Seconds" if unit.endswith("_second") else _plural(unit.replace("_", " ").title())


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith(("ch", "s", "x")) else f"{name}s"
