"""Compile the price book: sources in order of trust, then the corrections.

    python -m pricing.build --litellm model_prices_and_context_window_backup.json [--check]

genai-prices comes first, LiteLLM's data completes it, model-prices adds what nobody else has; for DashScope, whose
prices changed often, model-prices comes first. A disagreement of more than 1 % that no correction settles fails the build.
Models that a newer source has dropped stay in the book: old calls must keep their price.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import orjson

from pricing import corrections
from pricing.catalog import row_of
from pricing.merge import Disagreement, Merger, completed, prices_on, spread
from pricing.price import Price, Row
from pricing.resold import completed_by_maker
from pricing.sources import genai_prices, litellm, model_prices
from pricing.sources.offer import Offer, lines
from pricing.times import epoch_s
from pricing.units import TOKENS, lineage
from pricing.values import frozen

DATA = Path(__file__).parent / "data"
_FIRST_BY_HISTORY = {"dashscope"}  # providers for which model-prices leads
# Providers that resell another's models: prices that agree are taken over with their dates.
_RESELLERS = {"google-vertex": ("google", True), "azure": ("openai", False)}


@frozen
class Built:
    """A compiled book, and what speaks against it."""

    content: bytes
    unsettled: tuple[Disagreement, ...]


def build(litellm_file: Path, litellm_version: str, checked: str, old: bytes = b"") -> Built:
    """Compile. `checked`: the date (ISO) that stands for sources without one. `old`: the book so far."""
    history = model_prices.offers()
    first = [offer for offer in history if offer.provider in _FIRST_BY_HISTORY]
    at_s = epoch_s(checked, 0)
    merger = Merger([*first, *genai_prices.offers(checked)], at_s)
    theirs = litellm.offers(litellm_file, checked, litellm_version)
    merger.add([offer for offer in theirs if offer.provider not in _RESELLERS])
    merger.add(_inherited(merger, [offer for offer in theirs if offer.provider in _RESELLERS], at_s))
    merger.add([offer for offer in history if offer.provider not in _FIRST_BY_HISTORY], only_models=True)
    for offer in merger.offers.values():
        offer.rows = completed(row for row in offer.rows if row.prices or row.tiers)
    fixes = corrections.read(DATA / "corrections.toml")
    corrections.apply(merger.offers, fixes)
    _keep_dropped(merger.offers, old)
    merger.forget_names()
    for offer, rows in [(offer, completed_by_maker(merger, offer)) for offer in merger.offers.values()]:
        offer.rows = rows
    return Built(
        b"".join(orjson.dumps(line) + b"\n" for line in lines(merger.offers.values())),
        tuple(corrections.unsettled(merger.disagreements, fixes)),
    )


def with_old_rows(built: Built, old: bytes) -> bytes:
    """The new book, but that models of which the sources say different prices, unsettled, keep the rows of `old`."""
    open_ = {(question.provider, question.model) for question in built.unsettled}
    kept: dict[tuple[str, str], list[bytes]] = {}
    for line in old.splitlines(keepends=True):
        if (model := _model_of(line)) in open_:
            kept.setdefault(model, []).append(line)
    rows: list[bytes] = []
    for line in built.content.splitlines(keepends=True):
        model = _model_of(line)
        rows += kept.pop(model, []) if model in open_ else [line]
    return b"".join(rows)


def _model_of(line: bytes) -> tuple[str, str]:
    raw = orjson.loads(line)
    return raw["provider"], raw["model"]


def _inherited(merger: Merger, offers: Iterable[Offer], at_s: int) -> list[Offer]:
    """Resellers' offers; where one's base prices are those of the maker, with the maker's history."""
    return [_with_history(merger, offer, at_s) for offer in offers]


def _with_history(merger: Merger, offer: Offer, at_s: int) -> Offer:
    maker, variants_too = _RESELLERS[offer.provider]
    existing = merger.find(maker, offer.model)
    base = next((row for row in offer.rows if not row.when), None)
    if existing is None or base is None or not _same_base(existing, base, at_s):
        return offer
    theirs = prices_on(existing, at_s)
    tools = {unit: price for unit, price in base.prices.items() if unit not in TOKENS}
    dearer = _dearer(base, theirs)
    rows = [
        replace(row, provider=offer.provider, model=offer.model, prices=left)
        for row in existing.rows
        if (variants_too or not row.when)
        and (
            left := {
                unit: price
                for unit, price in row.prices.items()
                if unit not in tools and (row.when or unit not in dearer) and (variants_too or unit in TOKENS)
            }
        )
    ]
    periods = [row for row in rows if not row.when]
    today = next((row for row in periods if row.from_s <= at_s < row.to_s and "input" in row.prices), None)
    have = {tuple(sorted(row.when.items())) for row in rows}
    own = [row for row in offer.rows if tuple(sorted(row.when.items())) not in have]
    own.append(replace(base, prices=dearer, tiers=()))
    rows += [made for row in own for made in spread(row, today, periods)]
    if tools:
        rows.append(replace(base, prices=tools, tiers=()))
    return replace(offer, rows=rows)


def _same_base(existing: Offer, base: Row, at_s: int) -> bool:
    prices = prices_on(existing, at_s)
    return all(
        unit in prices and prices[unit] == base.prices.get(unit) for unit in ("input", "output") if unit in base.prices
    )


def _dearer(base: Row, theirs: Mapping[str, Price]) -> dict[str, Price]:
    """Tokens for which a reseller states a higher price than its maker takes for them."""
    taken = {unit: next((theirs[name].usd for name in lineage(unit) if name in theirs), 0) for unit in base.prices}
    return {unit: price for unit, price in base.prices.items() if unit in TOKENS and price.usd > taken[unit]}


def _keep_dropped(offers: corrections.Offers, old: bytes) -> None:
    kept: corrections.Offers = {}
    for line in old.splitlines():
        raw = orjson.loads(line)
        key = (raw["provider"], raw["model"])
        if key not in offers and not raw["source"].startswith("correction"):
            offer = kept.setdefault(key, Offer(*key))
            offer.rows.append(row_of(raw))
            offer.names = offer.names or tuple(raw.get("names", ()))
    offers.update(kept)


def main(arguments: list[str] | None = None) -> int:
    """The command. Exit 1 where sources disagree unsettled, or with --check where the book is not what sources make."""
    parser = argparse.ArgumentParser(description="Compile the price book.")
    parser.add_argument("--litellm", type=Path, required=True, help="LiteLLM's JSON data file")
    parser.add_argument("--litellm-version", required=True)
    parser.add_argument("--checked", default=dt.datetime.now(dt.UTC).date().isoformat())
    parser.add_argument("--afresh", action="store_true", help="forget models that the sources have dropped")
    options = parser.parse_args(arguments)
    target = DATA / "prices.jsonl"
    old = target.read_bytes() if target.exists() and not options.afresh else b""
    built = build(options.litellm, options.litellm_version, options.checked, old)
    for question in built.unsettled:
        sys.stderr.write(f"unsettled: {question}\n")
    if built.unsettled:
        return 1
    target.write_bytes(built.content)
    count = len(re.findall(rb"\n", built.content))
    sys.stderr.write(f"{target.name}: {count} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
