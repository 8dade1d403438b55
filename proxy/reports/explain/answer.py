"""Why the bill changed: two periods, the exact split of their difference, and the groups that moved it most.

The mathematics: `split.py`. Groups are those of `by` and the model, so that a change of models is seen whatever is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import Engine

from pricing.book import Book
from proxy.money import usd_text
from proxy.reports.answers import About, Answer, Grouped, about
from proxy.reports.explain.split import PARTS, Group, Parts, split
from proxy.reports.months import before, month_at
from proxy.reports.references import References, providers_of
from proxy.reports.spend import SpendRow, spend
from proxy.times import BadQuestion, moment, rfc3339

_MOST_MOVERS = 10
_WORDS = {
    "volume": ("more calls", "fewer calls"),
    "mix": ("a dearer mix of models and customers", "a cheaper mix of models and customers"),
    "tokens": ("more tokens a call", "fewer tokens a call"),
    "cache": ("less from the cache", "more from the cache"),
    "price": ("higher prices", "lower prices"),
    "new": ("what is new", "what is new"),
    "gone": ("what is gone", "what is gone"),
    "unpriced": ("calls that now have a price", "calls that have no price now"),
}

Values = tuple[str | None, ...]


class ExplainQuestion(NamedTuple):
    """None: the running month so far, against as much of the month before; else the period against one as long just before."""

    by: Sequence[str] = ("customer", "model")
    since: int | None = None
    until: int | None = None
    against: tuple[int, int] | None = None
    zone: ZoneInfo = ZoneInfo("UTC")


class PartsShown(BaseModel):
    """USD; they add up to the difference, to the last digit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    volume: str
    mix: str
    tokens: str
    cache: str
    price: str
    new: str
    gone: str
    unpriced: str


class Mover(Grouped):
    """A group with its part of the difference."""

    difference_usd: str
    parts: PartsShown


class ExplainShown(BaseModel):
    """`movers`: the ten groups that moved it most, whichever way. `unpriced_requests`: calls of the period, and of the one
    before, whose cost is not known and is in none of these numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost_usd: str
    previous_usd: str
    difference_usd: str
    parts: PartsShown
    movers: list[Mover]
    sentence: str
    previous: tuple[str, str]
    unpriced_requests: tuple[int, int]
    about: About


def against_of(text: str, now_s: float) -> tuple[int, int]:
    """`C..D` as epoch microseconds. Raises `BadQuestion`."""
    first, dots, last = text.partition("..")
    if not dots or not first or not last:
        raise BadQuestion("against is written C..D: two times with .. between, such as 2026-10-01..2026-11-01")
    return moment(first, now_s), moment(last, now_s)


def periods(question: ExplainQuestion, now_us: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The period that is asked for, and the one that it is held against. Raises `BadQuestion`."""
    until = now_us if question.until is None else question.until
    if question.since is None and question.against is None:
        month = month_at(until - 1, question.zone)
        start = before(month, question.zone).start
        return (month.start, until), (start, min(month.start, start + until - month.start))
    since = month_at(until - 1, question.zone).start if question.since is None else question.since
    against = (since - (until - since), since) if question.against is None else question.against
    if since >= until or against[0] >= against[1]:
        raise BadQuestion("a period must end after it begins: since before until, C before D in against=C..D")
    return (since, until), against


def explain_answer(engine: Engine, book: Book, question: ExplainQuestion, now_us: int) -> Answer:
    """book: with the operator's own prices. Raises `BadQuestion`."""
    if not question.by:
        raise BadQuestion("say by what: by=customer,model")
    period, against = periods(question, now_us)
    names = list(dict.fromkeys([*question.by, "model"]))
    now, was = (spend(engine, names, since, _read_to(until, now_us)) for since, until in (period, against))
    providers = providers_of(engine, (period, against))
    units = _units([*now, *was])
    ends = [min(until, now_us) - 1_000_000 for _, until in (period, against)]
    before_groups, now_groups = (
        _groups(rows, units, References(book, providers, end)) for rows, end in ((was, ends[1]), (now, ends[0]))
    )
    parts = split(before_groups, now_groups)
    by_group: dict[Values, Parts] = {}
    for values, changes in parts.items():
        _add(by_group.setdefault(values[: len(question.by)], dict.fromkeys(PARTS, 0)), changes)
    return _answer(question, period, against, (was, now), by_group)


def _read_to(until: int, now_us: int) -> int | None:
    """There is nothing behind now, so that the running day can be read as a whole."""
    return until if until < now_us else None


def _units(rows: Sequence[SpendRow]) -> Mapping[str | None, set[str]]:
    units: dict[str | None, set[str]] = {}
    for row in rows:
        units.setdefault(row.group["model"], set()).update(row.usage)
    return units


def _groups(
    rows: Sequence[SpendRow], units: Mapping[str | None, set[str]], references: References
) -> dict[Values, Group]:
    by_model = {model: references.prices(model, used) for model, used in units.items()}
    groups = {}
    for row in rows:
        usage = {unit: Decimal(amount) for unit, amount in row.usage.items() if Decimal(amount) > 0}
        priced = by_model[row.group["model"]]
        groups[tuple(row.group.values())] = Group(row.cost_nanousd, row.requests, row.unpriced_requests, usage, priced)
    return groups


def _add(sums: Parts, parts: Parts) -> None:
    for name, amount in parts.items():
        sums[name] += amount


def _answer(
    question: ExplainQuestion,
    period: tuple[int, int],
    against: tuple[int, int],
    rows: tuple[Sequence[SpendRow], Sequence[SpendRow]],
    by_group: Mapping[Values, Parts],
) -> Answer:
    was, now = (sum(row.cost_nanousd for row in of) for of in rows)
    unpriced = tuple(sum(row.unpriced_requests for row in of) for of in (rows[1], rows[0]))
    total = dict.fromkeys(PARTS, 0)
    for parts in by_group.values():
        _add(total, parts)
    ranked = sorted(by_group.items(), key=lambda item: (-abs(sum(item[1].values())), str(item[0])))
    movers = [
        Mover(
            **dict(zip(question.by, values, strict=True)),
            difference_usd=usd_text(sum(parts.values())),
            parts=_shown(parts),
        )
        for values, parts in ranked[:_MOST_MOVERS]
        if any(parts.values())
    ]
    shown = ExplainShown(
        cost_usd=usd_text(now),
        previous_usd=usd_text(was),
        difference_usd=usd_text(now - was),
        parts=_shown(total),
        movers=movers,
        sentence=_sentence(question.by, was, now, total, ranked[:1]),
        previous=(rfc3339(against[0]) or "", rfc3339(against[1]) or ""),
        unpriced_requests=(unpriced[0], unpriced[1]),
        about=about(*period, question.zone.key, _SOURCES, _caveats(unpriced[0], unpriced[1])),
    )
    return Answer(shown, _rows(shown, question.by), (*question.by, "difference_usd", *PARTS), _said(shown))


_SOURCES = (
    "cost, calls and usage: the ledger's roll-ups, the edges and labels from its entries",
    "what a unit costs beside another: the price book and the configuration, scaled to the ledger's cost",
)


def _caveats(now: int, was: int) -> list[str]:
    if not now and not was:
        return []
    calls = f"{now} call{'' if now == 1 else 's'} of the period and {was} of the one before"
    return [f"{calls} have no price, and are in none of these sums"]


def _shown(parts: Parts) -> PartsShown:
    return PartsShown(**{name: usd_text(amount) for name, amount in parts.items()})


def _rows(shown: ExplainShown, by: Sequence[str]) -> list[dict[str, object]]:
    """The movers, what all others come to, and the total."""
    movers = [mover.model_dump() for mover in shown.movers]
    rows: list[dict[str, object]] = [
        {**{name: mover[name] for name in by}, "difference_usd": mover["difference_usd"], **mover["parts"]}
        for mover in movers
    ]
    total = {"difference_usd": shown.difference_usd, **shown.parts.model_dump()}
    rest = {name: Decimal(value) - sum(Decimal(str(row[name])) for row in rows) for name, value in total.items()}
    if any(rest.values()):
        rows.append({by[0]: "(others)", **{name: _plain(value) for name, value in rest.items()}})
    return [*rows, {by[0]: "(total)", **total}]


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) if value else "0"


def _said(shown: ExplainShown) -> list[str]:
    about_it = shown.about
    lines = [
        shown.sentence,
        f"{about_it.since} to {about_it.until} against {shown.previous[0]} to {shown.previous[1]}.",
    ]
    lines += [f"From: {source}." for source in about_it.sources]
    return lines + [f"Note: {caveat}." for caveat in about_it.caveats]


def _sentence(by: Sequence[str], was: int, now: int, total: Parts, first: Sequence[tuple[Values, Parts]]) -> str:
    """For a person: to the cent, or finer where all is less than a dollar."""
    difference = now - was
    finest = 2 if max(abs(now), abs(was)) >= 1_000_000_000 else 6
    if not now and not was and not any(total.values()):
        return "Neither period has a cost."
    if not difference and not any(total.values()):
        return f"The period cost {_dollars(now, finest)}, as much as the one before, and for the same reasons."
    percent = f" ({abs(difference) * 100 / was:.0f} %)" if was > 0 else ""
    turn = "more than" if difference > 0 else "less than" if difference < 0 else "as much as"
    by_how_much = f"{_dollars(abs(difference), finest)}{percent} {turn}" if difference else turn
    text = f"The period cost {_dollars(now, finest)}, {by_how_much} the {_dollars(was, finest)} before"
    moved = sorted((part for part in PARTS if total[part]), key=lambda part: -abs(total[part]))
    reasons = [f"{_WORDS[part][total[part] < 0]} ({_dollars(total[part], finest, signed=True)})" for part in moved]
    if reasons:
        text += f": {', '.join(reasons)}"
    if first and sum(first[0][1].values()):
        values, parts = first[0]
        named = ", ".join(f"{name} {value or '(none)'}" for name, value in zip(by, values, strict=True))
        text += f". What moved it most: {named} ({_dollars(sum(parts.values()), finest, signed=True)})"
    return f"{text}."


def _dollars(nanousd: int, digits: int, *, signed: bool = False) -> str:
    amount = f"{abs(Decimal(nanousd)) / 1_000_000_000:,.{digits}f}"
    sign = "-" if nanousd < 0 else "+" if signed else ""
    return f"{sign}${amount}"
