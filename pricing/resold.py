"""What sources leave out of resold models: sound, pictures, films and cache writes, which are dearer than text at the maker.

The sources have the price of text alone for many resold models, and a unit without a price takes its parent's: a minute of
sound would silently cost what its tokens cost as text, a tenth or less of what is billed. So it costs as many times the text
as at the model's maker; what a source states stays as it is, and nothing gets cheaper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import replace

from pricing.merge import Merger, prices_on, times
from pricing.price import Price, Row
from pricing.sources.offer import Offer
from pricing.units import lineage

# Of models that nobody hosts but whom they have a contract with, nearest first; Azure stands for Microsoft's.
_MAKERS = ("openai", "anthropic", "google", "google-vertex", "cohere", "azure")
_UNITS = (  # parents first
    "audio_in", "image_in", "video_in", "audio_out", "image_out", "video_out",
    "cache_read_audio", "cache_read_image", "cache_read_video", "cache_write_5m", "cache_write_30m", "cache_write_1h",
)  # fmt: skip
_PATH = re.compile(r".*/|\Adatabricks-|\A(?:google|cohere|anthropic)\.")
_VARIANT = re.compile(r":.*")


def completed_by_maker(merger: Merger, offer: Offer) -> list[Row]:
    """The rows of an offer, and more where the model's maker takes more for a unit than an offer that leaves it out."""
    maker = _maker_of(merger, offer)
    if maker is None:
        return offer.rows
    theirs = prices_on(maker, merger.at_s)
    stated = {unit for row in offer.rows for unit in row.prices}
    wanted = theirs.keys() & set(_UNITS) - stated
    return [*offer.rows, *(more for row in offer.rows if wanted and (more := _more(row, theirs, wanted)))]


def _maker_of(merger: Merger, offer: Offer) -> Offer | None:
    name = _VARIANT.sub("", _PATH.sub("", offer.model))
    for maker in _MAKERS:
        if maker == offer.provider:
            return None
        if (maker_offer := merger.find(maker, name)) is not None:
            return maker_offer
    return None


def _more(row: Row, theirs: Mapping[str, Price], wanted: Set[str]) -> Row | None:
    prices = _priced(row.prices, theirs, wanted)
    tiers = tuple(
        replace(tier, prices=more)
        for tier in row.tiers
        if (more := _priced(tier.prices, theirs, wanted & prices.keys()))
    )
    return replace(row, prices=prices, tiers=tiers, source=f"{row.source}, derived") if prices else None


def _priced(prices: Mapping[str, Price], theirs: Mapping[str, Price], wanted: Set[str]) -> dict[str, Price]:
    made: dict[str, Price] = {}
    for unit in [unit for unit in _UNITS if unit in wanted]:
        have = {**prices, **made}
        parents = [parent for parent in lineage(unit)[1:] if parent in have]
        parent = next((parent for parent in parents if parent in theirs and theirs[parent].usd), None)
        if parent is not None:
            price = times(have[parent], theirs[unit].usd / theirs[parent].usd)
            if price.usd > have[parents[0]].usd:
                made[unit] = price
    return made
