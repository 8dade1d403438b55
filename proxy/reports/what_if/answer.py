"""What a period's calls would have cost otherwise: other models, tiers, cache shares, price lists.

Up to so many calls each is priced by itself, with the service tier that it was served at. Beyond that the roll-ups answer: each
provider's and model's calls as so many mean calls. No number comes without what it rests on; what cannot be compared is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import Engine

from pricing.book import Book
from proxy.ceilings.learned import Learned
from proxy.ledger.schema import TOKEN_COLUMNS, counted, entries
from proxy.money import is_short, usd_text
from proxy.reports.answers import About, Answer, about, no_price
from proxy.reports.spend import SpendRow, spend
from proxy.reports.what_if.alternatives import TIERS, Alternative, Change, Kind, alternative, names
from proxy.times import BadQuestion, rfc3339

EACH_UP_TO = 50_000  # calls
FAMILIES = ("claude-4.7", "claude", "gemini", "mistral", "open", "other")  # tokenizers' families: pricing/tokens.py
_COLUMNS = ("model", "to", "cost_usd", "what_if_usd", "low_usd", "high_usd", "caveats")
_MEAN = "priced as so many mean calls: tiers by the length of a single call are not seen"


class WhatIfItem(BaseModel):
    """The calls of one model. low_usd to high_usd: the band where tokenizers differ. unpriced: so many of its calls have no
    price, and are nothing in cost_usd."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None
    to: str
    cost_usd: str
    what_if_usd: str
    low_usd: str
    high_usd: str
    caveats: list[str]
    unpriced: int = 0


class WhatIfShown(BaseModel):
    """Sums of the items. left_out: what cannot be compared, each `MODEL (COST USD): why`, or `MODEL: why` of what cost nothing
    that is known; its cost is in no sum here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost_usd: str
    what_if_usd: str
    low_usd: str
    high_usd: str
    items: list[WhatIfItem]
    left_out: list[str]
    about: About


class _Sum(NamedTuple):
    cost: int
    unpriced: int
    alternative: Alternative


def learned_ratios(data_dir: Path) -> dict[str, float]:
    """Tokenizer family -> the most tokens for one of o200k that this installation's bills have shown."""
    ratios: dict[str, float] = {}
    for path in sorted(data_dir.glob("learned-*.json")):
        learned = Learned(path)
        for name in FAMILIES:
            ratios[name] = learned.ratio(name, ratios.get(name, 1.0))
    return ratios


def cache_share(text: str | None) -> Decimal | None:
    """A share as it is typed. Raises `BadQuestion`."""
    if text is None:
        return None
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal("NaN")
    if not is_short(share) or not 0 <= share <= 1:
        raise BadQuestion(f"{text!r} is not a share of the input: write one from 0 to 1, such as 0.8")
    return share


def check_change(change: Change) -> None:
    """Raises `BadQuestion`."""
    if not change.swaps and change.own is None and change.is_local:
        raise BadQuestion("say what would be otherwise: swap (FROM=TO), tier, cache or a price")
    if change.tier is not None and change.tier not in TIERS:
        raise BadQuestion(f"{change.tier!r} is not a tier; use one of {', '.join(TIERS)}")


def what_if_answer(
    engine: Engine, book: Book, change: Change, since: int, until: int, learned: Mapping[str, float], now_us: int
) -> Answer:
    """book: with the operator's own prices; learned: tokenizer ratios that bills have shown. Raises `BadQuestion`."""
    check_change(change)
    rows = [row for row in spend(engine, ["provider", "model"], since, until) if row.requests or row.cost_nanousd]
    calls = sum(row.requests for row in rows)
    at_s = min(until, now_us) // 1_000_000 - 1
    each = calls <= EACH_UP_TO
    typed = change.own is not None
    kinds = _single(engine, since, until, typed) if each else (kind for row in rows for kind in _mean(row, typed))
    sums: dict[tuple[str, str], list[_Sum]] = defaultdict(list)
    left_out: dict[tuple[str, str], int] = defaultdict(int)
    unpriced: dict[str, int] = defaultdict(int)
    for row in rows:
        unpriced[row.group["model"] or ""] += row.unpriced_requests
    for kind in kinds:
        if not kind.usage:
            left_out[kind.model, "corrections, and calls of which nothing is known"] += kind.cost
            continue
        result = alternative(kind, change, book, learned, at_s)
        if isinstance(result, Alternative):
            calls = kind.calls if kind.unpriced else 0
            unpriced[kind.model] -= calls
            sums[kind.model, result.to].append(_Sum(kind.cost, calls, result))
        elif result:
            left_out[kind.model, result] += kind.cost
    for model, calls in unpriced.items():
        if calls > 0:  # else each was given a price later, by a correction
            left_out[model, f"{no_price(calls)} of {'its' if calls == 1 else 'their'} own"] += 0
    called = [Kind(row.group["provider"] or "", row.group["model"] or "", {}, {}, 0, 0) for row in rows]
    idle = [f"no call of the period is {swap.model}'s, so that swap changes nothing"
            for swap in change.swaps if not any(names(swap, book, kind, at_s) for kind in called)]  # fmt: skip
    return _answer(sums, left_out, [] if each else [_MEAN], idle, (since, until), at_s)


def _mean(row: SpendRow, typed: bool) -> Iterator[Kind]:
    """typed: those without a price, too."""
    provider, model = row.group["provider"] or "", row.group["model"] or ""
    calls = row.requests or 1
    usage = {unit: Decimal(amount) / calls for unit, amount in row.usage.items() if Decimal(amount) > 0}
    priced = max(0, row.requests - row.unpriced_requests)
    if priced or row.cost_nanousd:
        yield Kind(provider, model, {}, usage if priced else {}, priced, row.cost_nanousd)
    if typed and row.unpriced_requests and usage:
        yield Kind(provider, model, {}, usage, row.unpriced_requests, 0, unpriced=True)


def _single(engine: Engine, since: int, until: int, typed: bool) -> Iterator[Kind]:
    """Every call with a price, at what it costs with its corrections; typed: the others, too. A correction of no call of the
    time says nothing of what was used."""
    these = (entries.c.started_at >= since, entries.c.started_at < until, counted())
    is_call, named = entries.c.kind == "attempt", ("provider", "model", "cost_nanousd")
    corrections = sa.select(*(entries.c[name] for name in (*named, "corrects_id"))).where(*these, ~is_call)
    columns = [*(entries.c[name] for name in (*named, "id", "service_tier", "usage"))]
    calls = sa.select(*columns, *(entries.c[column] for column in TOKEN_COLUMNS.values())).where(*these, is_call)
    corrected: dict[str, list[Kind]] = defaultdict(list)
    with engine.connect() as connection:
        for row in connection.execute(corrections).mappings():
            cost = int(row["cost_nanousd"] or 0)
            corrected[row["corrects_id"] or ""].append(Kind(row["provider"] or "", row["model"] or "", {}, {}, 1, cost))
        for row in connection.execute(calls).mappings():
            usage: dict[str, Decimal] = {
                unit: Decimal(row[column]) for unit, column in TOKEN_COLUMNS.items() if row[column]
            }
            usage |= _others(row["usage"])
            tier = {"service_tier": row["service_tier"]} if row["service_tier"] else {}
            its = corrected.pop(row["id"], [])
            unpriced = row["cost_nanousd"] is None and not its
            if not unpriced or (typed and usage):
                cost = int(row["cost_nanousd"] or 0) + sum(one.cost for one in its)
                yield Kind(row["provider"] or "", row["model"] or "", tier, usage, 1, cost, unpriced=unpriced)
    for others in corrected.values():
        yield from others


def _others(text: str | None) -> dict[str, Decimal]:
    others = {}
    for unit, amount in orjson.loads(text or "{}").items():
        try:
            others[unit] = Decimal(str(amount))
        except InvalidOperation:
            continue
    return others


def _answer(
    sums: Mapping[tuple[str, str], list[_Sum]],
    left_out: Mapping[tuple[str, str], int],
    caveats: list[str],
    idle: list[str],
    span: tuple[int, int],
    at_s: int,
) -> Answer:
    """caveats: of every row. idle: what was asked for and changes nothing."""
    priced_at = f"prices of {(rfc3339(at_s * 1_000_000) or '')[:10]}"
    items, totals = [], [0, 0, 0, 0]
    for (model, to), parts in sorted(sums.items(), key=lambda item: -sum(part.cost for part in item[1])):
        cost = sum(part.cost for part in parts)
        whole = [
            round(sum((getattr(part.alternative, name) for part in parts), Fraction(0)))
            for name in ("likely", "low", "high")
        ]
        notes = dict.fromkeys(caveat for part in parts for caveat in part.alternative.caveats)
        unpriced = sum(part.unpriced for part in parts)
        if unpriced:
            notes[f"{unpriced} of its calls have no price, and are nothing in its cost"] = None
        for place, amount in enumerate((cost, *whole)):
            totals[place] += amount
        items.append(
            WhatIfItem(
                model=model or None,
                to=to,
                cost_usd=usd_text(cost),
                what_if_usd=usd_text(whole[0]),
                low_usd=usd_text(whole[1]),
                high_usd=usd_text(whole[2]),
                caveats=[*notes, *caveats, priced_at],
                unpriced=unpriced,
            )
        )
    named = [
        f"{model or '(none)'}{f' ({usd_text(cost)} USD)' if cost else ''}: {why}"
        for (model, why), cost in sorted(left_out.items())
    ]
    sources = ["usage and cost: the ledger", f"{priced_at}: price book, configuration, or the file that was named"]
    shown = WhatIfShown(
        cost_usd=usd_text(totals[0]),
        what_if_usd=usd_text(totals[1]),
        low_usd=usd_text(totals[2]),
        high_usd=usd_text(totals[3]),
        items=items,
        left_out=named,
        about=about(*span, "UTC", sources, [*caveats, *idle]),
    )
    rows = [
        item.model_dump(exclude={"unpriced"})
        | {"caveats": "; ".join(item.caveats)}
        | ({"cost_usd": None} if item.cost_usd == "0" and item.unpriced else {})
        for item in items
    ]
    rows.append({"model": "(total)", **{name: getattr(shown, name) for name in _COLUMNS[2:6]}})
    return Answer(shown, rows, _COLUMNS, [*_said(shown), *(f"Note: {what}." for what in idle)])


def _said(shown: WhatIfShown) -> list[str]:
    band = "" if shown.low_usd == shown.high_usd else f" (${shown.low_usd} to ${shown.high_usd})"
    lines: list[Any] = [f"What cost ${shown.cost_usd} would have cost ${shown.what_if_usd}{band}."]
    lines += [f"Left out: {name}." for name in shown.left_out]
    return lines + [f"From: {source}." for source in shown.about.sources]
