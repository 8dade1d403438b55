"""`/explain`: why the bill changed, as a bridge from the time before to this one."""

from __future__ import annotations

from typing import Any

from proxy.control.pages import attributes, view
from proxy.control.pages.address import Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Rest, Row, Table, nano
from proxy.reports.explain.answer import ExplainQuestion, ExplainShown, explain_answer
from proxy.reports.explain.split import PARTS
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


def show(request: PageRequest) -> PageContent:
    """The difference of two periods, part by part, and the groups that moved it most. `?against=C..D`: with which, else with
    the stretch of the same length before. Raises `BadQuestion`."""
    if request.address.filters:
        raise BadQuestion("filter: the bill is explained as a whole; group it by `by`")
    since, until = request.moments()
    by = request.address.by or ("model",)
    against = _against(request)
    explained = explained_of(request, ExplainQuestion(by, since, until, against, request.address.zone))
    difference = nano(explained.difference_usd)
    values = {
        "sentence": explained.sentence,
        "before": _usd(explained.previous_usd),
        "now": _usd(explained.cost_usd),
        "difference": view.difference(difference, view.decimals_for([difference])),
        "previous": explained.previous,
        "spend": str(_spend(request)),
        "spend_before": _spend_before(request, explained),
        "by": ",".join(by),
        "choices": ("model", "customer", "team", "key", "user", "provider", "agent"),
    }
    tables = (_bridge(request, explained), _movers(request, explained, by))
    held_against = "" if against is None else "..".join(explained.previous)
    api = api_address(request, "/api/reports/explain", by=by, against=held_against)
    return PageContent("explain", "What changed", values, tables, (("Overview", "/"),), api)


def _against(request: PageRequest) -> tuple[int, int] | None:
    text = request.address.get("against")
    if not text:
        return None
    first, _, last = text.partition("..")
    since, until = request.address._replace(since=first, until=last).moments(request.now_us / 1e6)
    if since is None or until is None:
        raise BadQuestion("against is written C..D: two times with .. between, such as 2026-10-01..2026-11-01")
    return since, until


def explained_of(request: PageRequest, question: ExplainQuestion) -> ExplainShown:
    """The report. Raises `BadQuestion`."""
    shown: Any = explain_answer(request.state.engine, request.state.own_book(), question, request.now_us).shown
    assert isinstance(shown, ExplainShown)
    return shown


def _usd(text: str) -> str:
    amount = nano(text)
    return view.usd(amount, view.decimals_for([amount]))


def _spend(request: PageRequest) -> Address:
    return request.address.at("/spend", by=("model",))


def _spend_before(request: PageRequest, explained: ExplainShown) -> str:
    since, until = explained.previous
    return str(_spend(request)._replace(since=since or "", until=until or ""))


def _bridge(request: PageRequest, explained: ExplainShown) -> Table:
    parts = explained.parts.model_dump()
    spend = _spend(request)
    rows = [
        Row(
            {"part": "The time before", "amount": nano(explained.previous_usd)},
            muted=True,
            to=_spend_before(request, explained),
            absolute=True,
        ),
        *[
            Row({"part": TITLES.get(name, name), "amount": nano(parts[name])}, to="#table-movers")
            for name in PARTS
            if nano(parts[name])
        ],
    ]
    total = Row({"part": "This time", "amount": nano(explained.cost_usd)}, to=str(spend), absolute=True)
    columns = [Column("part", "", "text"), Column("amount", "USD", "usd", signed=True)]
    return Table("bridge", "From then to now", columns, rows, total)


def _movers(request: PageRequest, explained: ExplainShown, by: tuple[str, ...]) -> Table:
    columns = [
        *[Column(name, name.replace(".", " ").capitalize(), "name") for name in by],
        Column("difference", "Difference", "usd", signed=True),
        *[Column(name, TITLES.get(name, name), "usd", signed=True, sparse=True) for name in PARTS],
    ]
    rows = []
    for mover in explained.movers:
        group, parts = mover.__pydantic_extra__ or {}, mover.parts.model_dump()
        calls = request.address.at("/spend", by=("key",))
        spend = attributes.narrowed(calls, {name: group.get(name) for name in by}, request.now_us)
        cells = {name: group.get(name) or "(none)" for name in by} | _moved(mover.difference_usd, parts)
        there = str(_beside(request, spend))
        rows.append(Row(cells, {by[0]: there}, to=there))
    names = dict.fromkeys(by, "")
    sums = _moved(explained.difference_usd, explained.parts.model_dump())
    left = {name: amount - sum(row.cells[name] for row in rows) for name, amount in sums.items()}
    everything = str(_beside(request, request.address.at("/spend", by=attributes.lasting(by)[:2])))
    rest = None
    if any(left.values()):
        others = Row(names | {by[0]: "other"} | left, muted=True, to=everything)
        rest = Rest(others, lambda: [others])
    total = Row(names | {by[0]: "total"} | sums, to=everything) if rows else None
    return Table("movers", "What moved it most", columns, rows, total, rest=rest, empty="Nothing moved.")


def _moved(difference: str, parts: dict[str, str]) -> dict[str, int]:
    return {"difference": nano(difference) or 0} | {name: nano(parts[name]) or 0 for name in PARTS}


def _beside(request: PageRequest, spend: Address) -> Address:
    """With the time before, where that is what it is held against."""
    return spend if request.address.get("against") else spend.having(compare="1")


def main_part(parts: dict[str, str]) -> str:
    """The part that moved most, in words."""
    name = max(PARTS, key=lambda part: abs(nano(parts[part]) or 0))
    return TITLES.get(name, name).lower()


PAGE = Page("/explain", "", show, since="7d", shortcut="", whole="7 days")
