"""`/explain`: why the bill changed, as a bridge from the time before to this one."""

from __future__ import annotations

from typing import Any

from proxy.control.pages import view
from proxy.control.pages.address import Address
from proxy.control.pages.asking import as_api
from proxy.control.pages.page import Asked, Page, Shown
from proxy.control.pages.tables import Column, Row, Table, nano
from proxy.reports.explain import ExplainQuestion, ExplainShown, explain_answer
from proxy.reports.split import PARTS
from proxy.times import BadQuestion

TITLES = {
    "volume": "Number of calls",
    "mix": "Mix of models and customers",
    "tokens": "Tokens a call",
    "cache": "Share from the cache",
    "price": "Prices",
    "new": "What is new",
    "gone": "What is gone",
    "unpriced": "Calls that had, or have, no price",
}


def show(asked: Asked) -> Shown:
    """The difference of two periods, part by part, and the groups that moved it most. Raises `BadQuestion`."""
    if asked.address.filters:
        raise BadQuestion("filter: the bill is explained as a whole; group it by `by`")
    since, until = asked.moments()
    by = asked.address.by or ("model",)
    explained = explained_of(asked, ExplainQuestion(by, since, until, None, asked.address.zone))
    difference = nano(explained.difference_usd)
    values = {
        "sentence": explained.sentence,
        "before": _usd(explained.previous_usd),
        "now": _usd(explained.cost_usd),
        "difference": ("+" if difference and difference > 0 else "") + _usd(explained.difference_usd),
        "previous": explained.previous,
        "spend": str(_spend(asked)),
        "spend_before": _spend_before(asked, explained),
        "by": ",".join(by),
        "choices": ("model", "customer", "team", "key", "user", "provider", "agent"),
    }
    tables = (_bridge(asked, explained), _movers(asked, explained, by))
    return Shown(
        "explain", "What changed", values, tables, (("Overview", "/"),), as_api(asked, "/api/reports/explain", by=by)
    )


def explained_of(asked: Asked, question: ExplainQuestion) -> ExplainShown:
    """The report. Raises `BadQuestion`."""
    shown: Any = explain_answer(asked.state.engine, asked.state.own_book(), question, asked.now_us).shown
    assert isinstance(shown, ExplainShown)
    return shown


def _usd(text: str) -> str:
    amount = nano(text)
    return view.usd(amount, view.decimals_for([amount]))


def _spend(asked: Asked) -> Address:
    return asked.address.at("/spend", by=("model",))


def _spend_before(asked: Asked, explained: ExplainShown) -> str:
    since, until = explained.previous
    return str(_spend(asked)._replace(since=since or "", until=until or ""))


def _bridge(asked: Asked, explained: ExplainShown) -> Table:
    parts = explained.parts.model_dump()
    spend = _spend(asked)
    rows = [
        Row(
            {"part": "The time before", "amount": nano(explained.previous_usd)},
            muted=True,
            to=_spend_before(asked, explained),
        ),
        *[
            Row({"part": TITLES.get(name, name), "amount": nano(parts[name])}, to="#table-movers")
            for name in PARTS
            if nano(parts[name])
        ],
    ]
    total = Row({"part": "This time", "amount": nano(explained.cost_usd)}, to=str(spend))
    return Table(
        "bridge", "From then to now", [Column("part", "", "text"), Column("amount", "USD", "usd")], rows, total
    )


def _movers(asked: Asked, explained: ExplainShown, by: tuple[str, ...]) -> Table:
    columns = [
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in by],
        Column("difference", "Difference", "usd"),
        *[Column(name, TITLES.get(name, name), "usd") for name in PARTS],
    ]
    rows = []
    for mover in explained.movers:
        group, parts = mover.__pydantic_extra__ or {}, mover.parts.model_dump()
        spend = asked.address.at("/spend", by=("key",))
        for name in by:
            spend = spend.filtered(name, group.get(name))
        cells = {name: group.get(name) or "(none)" for name in by} | {"difference": nano(mover.difference_usd)}
        cells |= {name: nano(parts[name]) for name in PARTS}
        there = str(spend.having(compare="1"))
        rows.append(Row(cells, {by[0]: there}, to=there))
    return Table("movers", "What moved it most", columns, rows, empty="Nothing moved.")


def main_part(parts: dict[str, str]) -> str:
    """The part that moved most, in words."""
    name = max(PARTS, key=lambda part: abs(nano(parts[part]) or 0))
    return TITLES.get(name, name).lower()


PAGE = Page("/explain", "", show, since="7d", jump="", whole="7 days")
