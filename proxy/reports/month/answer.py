"""The month's charge-back as it leaves: JSON, rows, and what to know of it; and closing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import Engine

from proxy.ledger.database import reading
from proxy.ledger.notes.closings import Closing, close, closings
from proxy.money import NANO, usd_text
from proxy.reports.answers import About, Answer, Grouped, about, unpriced_caveats
from proxy.reports.margin.answer import rate
from proxy.reports.month.charged import Charge, MonthQuestion, Values, charged, unpriced_in, without_price
from proxy.times import BadQuestion, rfc3339

_SOURCES = ("the ledger's roll-ups, the edges and labels from its entries",)


class MonthItem(Grouped):
    """cost_usd: exact; charge_usd: in whole cents, with the mark-up; change_usd: of the cost, against the month before."""

    cost_usd: str
    charge_usd: str
    share: str
    change_usd: str


class Adjustment(Grouped):
    """What changed of a closed month since it was closed."""

    month: str
    cost_usd: str
    charge_usd: str


class MonthShown(BaseModel):
    """total_usd: what is charged, items_usd and adjustments_usd together. cost_usd: of the items, exact, without mark-up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    month: str
    closed: bool
    closed_at: str | None
    total_usd: str
    cost_usd: str
    items_usd: str
    adjustments_usd: str
    mark_up: str
    items: list[MonthItem]
    adjustments: list[Adjustment]
    about: About


def month_answer(engine: Engine, question: MonthQuestion, now_us: int) -> Answer:
    """Raises `BadQuestion`."""
    _check(question, now_us)
    if question.only:
        return _filtered(engine, question, now_us)
    with reading(engine).connect() as connection:
        closing = closings(connection, ",".join(question.names), question.zone.key).get(question.month.name)
    shown = _as_closed(closing, question) if closing is not None else _as_it_is(engine, question, now_us)
    return _answer(engine, question, shown)


def _answer(engine: Engine, question: MonthQuestion, shown: MonthShown) -> Answer:
    rows = _rows(shown, question.names, unknown_in(engine, question, shown))
    return Answer(shown, rows, ("month", *question.names, *_COLUMNS), _said(shown))


def unknown_in(engine: Engine, question: MonthQuestion, shown: MonthShown) -> set[Values]:
    """The groups that cost nothing here because none of their calls has a price."""
    costs_nothing = any(item.cost_usd == "0" for item in shown.items)
    return without_price(engine, question) if costs_nothing else set()


def _filtered(engine: Engine, question: MonthQuestion, now_us: int) -> Answer:
    """Those items of the month that have these values; their shares are still those of the whole month."""
    names = tuple(dict.fromkeys([*question.names, *question.only]))
    whole = month_answer(engine, question._replace(by=names, mapped=None, only={}), now_us).shown
    assert isinstance(whole, MonthShown)
    caveats = [caveat for caveat in whole.about.caveats if "no price" not in caveat]
    if len(caveats) < len(whole.about.caveats):
        caveats += unpriced_caveats(unpriced_in(engine, question))
    shown = _shown(
        question,
        [MonthItem(**item) for item in _kept(whole.items, question)],
        [Adjustment(**item) for item in _kept(whole.adjustments, question)],
        whole.mark_up,
        whole.closed_at,
        [*caveats, "filtered: charges and shares are those of the whole month, charged so"],
    )
    return _answer(engine, question, shown)


def _kept(items: Sequence[Grouped], question: MonthQuestion) -> Iterator[dict[str, Any]]:
    """Those that have the values, without the names that nobody asked for."""
    others = [name for name in question.only if name not in question.names]
    for item in items:
        values = item.model_dump()
        if all((values[name] or "") == value for name, value in question.only.items()):
            yield {name: value for name, value in values.items() if name not in others}


def close_month(engine: Engine, question: MonthQuestion, now_us: int) -> bool:
    """Keep the month as it is now; False where it was closed before. Raises `BadQuestion`, of a month that still runs, too:
    its calls to come would all be adjustments of the next."""
    _check(question, now_us)
    if question.month.end > now_us:
        raise BadQuestion(f"{question.month.name} is not over yet; it can be closed once it has ended")
    shown = _as_it_is(engine, question, now_us)
    return close(
        engine,
        Closing(
            month=shown.month,
            by=",".join(question.names),
            timezone=question.zone.key,
            mark_up=shown.mark_up,
            items=[item.model_dump() for item in shown.items],
            adjustments=[item.model_dump() for item in shown.adjustments],
            closed_at=now_us,
        ),
    )


_COLUMNS = ("cost_usd", "charge_usd", "share", "change_usd")


def _check(question: MonthQuestion, now_us: int) -> None:
    if not question.names:
        raise BadQuestion("say by what it is charged: by=team, customer, label.cost_centre, …")
    if question.month.start > now_us:
        raise BadQuestion(f"{question.month.name} has not begun")


def _as_it_is(engine: Engine, question: MonthQuestion, now_us: int) -> MonthShown:
    bill = charged(engine, question)
    cost = sum(charge.cost for charge in bill.charges)
    groups = dict.fromkeys([*[charge.values for charge in bill.charges], *bill.previous])
    charges = {charge.values: charge for charge in bill.charges}
    items = [
        MonthItem(
            **_named(question, values),
            cost_usd=usd_text(charge.cost),
            charge_usd=cents_text(charge.cents),
            share=rate(charge.cost, cost) if cost else "0",
            change_usd=usd_text(charge.cost - bill.previous.get(values, 0)),
        )
        for values in groups
        for charge in [charges.get(values, Charge("", values, 0, 0))]
    ]
    adjustments = [
        Adjustment(
            **_named(question, charge.values),
            month=charge.month,
            cost_usd=usd_text(charge.cost),
            charge_usd=cents_text(charge.cents),
        )
        for charge in bill.adjustments
    ]
    caveats = ["the month is not over: it costs more every day"] if question.month.end > now_us else []
    caveats += unpriced_caveats(bill.unpriced)
    return _shown(question, items, adjustments, f"{question.mark_up:f}", None, caveats)


def _as_closed(closing: Closing, question: MonthQuestion) -> MonthShown:
    items = [MonthItem(**item) for item in closing.items]
    adjustments = [Adjustment(**item) for item in closing.adjustments]
    caveats = []
    if question.mark_up and Decimal(closing.mark_up) != question.mark_up:
        caveats.append(f"it was closed with a mark-up of {closing.mark_up}; what was asked for changes nothing")
    return _shown(question, items, adjustments, closing.mark_up, closing.closed_at, caveats)


def _shown(
    question: MonthQuestion,
    items: list[MonthItem],
    adjustments: list[Adjustment],
    mark_up: str,
    closed_at: int | str | None,
    caveats: Sequence[str],
) -> MonthShown:
    of_items = sum((Decimal(item.charge_usd) for item in items), Decimal(0))
    of_others = sum((Decimal(item.charge_usd) for item in adjustments), Decimal(0))
    cost = sum((Decimal(item.cost_usd) for item in items), Decimal(0))
    return MonthShown(
        month=question.month.name,
        closed=closed_at is not None,
        closed_at=closed_at if isinstance(closed_at, str) else rfc3339(closed_at),
        total_usd=cents_text(int((of_items + of_others) * 100)),
        cost_usd=usd_text(int(cost * 1_000_000_000)),
        items_usd=cents_text(int(of_items * 100)),
        adjustments_usd=cents_text(int(of_others * 100)),
        mark_up=mark_up,
        items=items,
        adjustments=adjustments,
        about=about(question.month.start, question.month.end, question.zone.key, _SOURCES, caveats),
    )


def _named(question: MonthQuestion, values: Sequence[str | None]) -> dict[str, Any]:
    return dict(zip(question.names, values, strict=True))


def cents_text(cents: int) -> str:
    """12345 -> "123.45"."""
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole}.{rest:02d}"


def _rows(shown: MonthShown, names: Sequence[str], unknown: set[Values]) -> list[dict[str, Any]]:
    """unknown: groups of whose calls none has a price. What they are charged is nothing, what they cost nobody knows."""
    items = [item.model_dump() for item in shown.items]
    of_unknown = [item["cost_usd"] == "0" and tuple(item[name] for name in names) in unknown for item in items]
    rows = [
        {"month": shown.month} | item | (dict.fromkeys(("cost_usd", "share", "change_usd")) if is_unknown else {})
        for item, is_unknown in zip(items, of_unknown, strict=True)
    ]
    rows += [item.model_dump() for item in shown.adjustments]
    is_unknown = bool(items) and all(of_unknown) and not shown.adjustments
    total = {names[0]: "(total)", "charge_usd": shown.total_usd} | {
        name: None if is_unknown else usd_text(int(sum(Decimal(row.get(name) or 0) for row in rows) * NANO))
        for name in ("cost_usd", "change_usd")
    }
    return [*rows, {"month": shown.month, **total}]


def _said(shown: MonthShown) -> list[str]:
    state = f"closed on {shown.closed_at}" if shown.closed else "not closed (--close keeps it as it is)"
    lines = [f"{shown.month}, {shown.about.timezone}: {state}, mark-up {shown.mark_up}."]
    if shown.adjustments:
        lines.append(f"{shown.adjustments_usd} USD of it adjust closed months, each in a row of its own month.")
    lines += [f"From: {source}." for source in shown.about.sources]
    return lines + [f"Note: {caveat}." for caveat in shown.about.caveats]
