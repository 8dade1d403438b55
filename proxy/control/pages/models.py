"""`/models`: what each model really cost here, beside what its price rows say and where they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pricing.catalog import price_text
from pricing.report import winners
from proxy.control.pages import attributes, view
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Rest, Row, Table
from proxy.reports.calendar import spend_by
from proxy.reports.known_cost import known_cost
from proxy.reports.spend import SpendRow

_MOST = 500


def show(request: PageRequest) -> PageContent:
    """Models with calls in this time, the dearest first; what has no price is named. Raises `BadQuestion`."""
    attributes.check_spend_filters([name for name, _ in request.address.filters])
    since, until = request.moments()
    rows = spend_by(request.state.engine, ["provider", "model"], since, until, only=request.address.only)
    columns = [
        Column("model", "Model", "name"),
        Column("provider", "Provider", "name"),
        Column("cost", "Cost", "usd"),
        Column("calls", "Calls", "count"),
        Column("each", "Each call", "rate"),
        Column("rate", "$ / M tokens", "rate", note="what a million tokens came to, cached ones too"),
        Column("cached", "Cached", "percent", note="share of the input that a cache had"),
        Column("thought", "Reasoning", "percent", note="share of the output that was reasoning"),
        Column("input_price", "Input price", "figure", note="of a plain call now, USD per million tokens"),
        Column("output_price", "Output price", "figure", note="of a plain call now, USD per million tokens"),
        Column("source", "Price from", "name", screen_only=True),
        Column("unpriced", "Unpriced", "count"),
    ]
    lines = [_row(request, row) for row in rows[:_MOST]]
    rest = _rest(request, rows[_MOST:])
    unpriced = [row for row in rows if row.unpriced_requests]
    total = _total(request, rows) if rows else None
    tables = (Table("models", "Models and prices", columns, lines, total, rest), _next_changes(request, rows))
    values = {"unpriced": [_own_price(request, row) for row in unpriced[:5]], "version": request.state.book.version}
    api = api_address(request, "/api/spend", by=("provider", "model"))
    return PageContent("models", "Models", values, tables, api=api)


def _row(request: PageRequest, row: SpendRow) -> Row:
    usage = {unit: int(row.usage.get(unit, 0)) for unit in (*view.INPUT, *view.OUTPUT)}
    read, written = sum(usage[unit] for unit in view.INPUT), sum(usage[unit] for unit in view.OUTPUT)
    priced = row.requests - row.unpriced_requests
    provider, model = row.group["provider"], row.group["model"]
    address = request.address.at("/calls").filtered("provider", provider).filtered("model", model)
    cells = {
        "model": model,
        "provider": provider,
        "cost": known_cost(row.cost_nanousd, row.requests, row.unpriced_requests),
        "calls": row.requests,
        "each": row.cost_nanousd // priced if priced > 0 else None,
        "rate": row.cost_nanousd * 1_000_000 // (read + written) if read + written and priced > 0 else None,
        "cached": 100 * usage["cache_read"] / read if read else None,
        "thought": 100 * usage["reasoning"] / written if written else None,
        "unpriced": row.unpriced_requests,
        **_prices(request, provider or "", model or ""),
    }
    links = {
        "model": str(address.at("/spend", by=("key",))),
        "provider": str(request.address.filtered("provider", provider)),
        "unpriced": str(address.filtered("priced", "no")),
    }
    return Row(cells, links, to=str(address))


def _total(request: PageRequest, rows: Sequence[SpendRow]) -> Row:
    calls = request.address.at("/calls")
    blank = ("provider", "each", "rate", "cached", "thought", "input_price", "output_price", "source")
    links = {"unpriced": str(calls.filtered("priced", "no"))}
    return Row(dict.fromkeys(blank, "") | _sums(rows) | {"model": "total"}, links, to=str(calls))


def _sums(rows: Sequence[SpendRow]) -> dict[str, Any]:
    cost = sum(row.cost_nanousd for row in rows)
    calls, unpriced = sum(row.requests for row in rows), sum(row.unpriced_requests for row in rows)
    return {
        "cost": known_cost(cost, calls, unpriced),
        "calls": calls,
        "unpriced": unpriced,
    }


def _rest(request: PageRequest, rows: Sequence[SpendRow]) -> Rest | None:
    """The models beyond those that are shown, as one row."""
    if not rows:
        return None
    cells = _sums(rows) | {"model": f"other ({len(rows):,})", "provider": ""}
    return Rest(Row(cells, muted=True), lambda: [_row(request, row) for row in rows])


def _prices(request: PageRequest, provider: str, model: str) -> dict[str, str | None]:
    """The input's and output's price of a plain call now, and who says so; the operator's own row comes first."""
    own = next((row for row in request.state.config().prices if _is_of(row, provider, model)), None)
    if isinstance(own, Mapping):
        prices = {unit: str(own[unit]) if unit in own else None for unit in ("input", "output")}
        return {"input_price": prices["input"], "output_price": prices["output"], "source": "your configuration"}
    catalog, at_s = request.state.book.catalog, request.now_us // 1_000_000
    canonical = catalog.canonical(provider)
    known = catalog.find(canonical, model.lower(), at_s)
    if known is None:
        return {"input_price": None, "output_price": None, "source": None}
    best = winners((*known.rows, *catalog.common_rows(canonical)), at_s)
    shown = {unit: price_text(best[unit][1], unit) if unit in best else None for unit in ("input", "output")}
    sources = dict.fromkeys(
        f"{row.source} ({row.checked})" if row.checked else row.source for row, _ in best.values() if row.source
    )
    return {"input_price": shown["input"], "output_price": shown["output"], "source": ", ".join(sources) or None}


def _is_of(row: object, provider: str, model: str) -> bool:
    if not isinstance(row, Mapping):
        return False
    pairs = ((row.get("provider", "*"), provider), (row.get("model", "*"), model))
    return all(fnmatchcase(name.lower(), str(pattern).lower()) for pattern, name in pairs)


def _own_price(request: PageRequest, row: SpendRow) -> dict[str, Any]:
    """A line for the configuration, for a model that has none."""
    provider, model = row.group["provider"] or "", row.group["model"] or ""
    line = {"provider": provider, "model": model, "input": "?", "output": "?"}
    calls = (
        request.address.at("/calls").filtered("provider", row.group["provider"]).filtered("model", row.group["model"])
    )
    what_if = request.address.at("/what-if")._replace(filters=())
    return {
        "model": view.clip(model),
        "calls": row.unpriced_requests,
        "line": json.dumps(line, ensure_ascii=False),
        "link": str(calls.filtered("priced", "no")),
        "try": str(what_if.having(model=model, provider=provider)),
    }


def _next_changes(request: PageRequest, rows: list[SpendRow]) -> Table:
    """Price changes that the book knows of, of the models in use."""
    columns = [Column("at", "From", "moment"), Column("model", "Model", "name"), Column("change", "Prices", "prose")]
    changes = sorted(
        {
            change
            for row in rows[:_MOST]
            for change in _changes(request, row.group["provider"] or "", row.group["model"] or "")
        }
    )
    lines = [Row({"at": at * 1_000_000, "model": model, "change": text}) for at, model, text in changes[:50]]
    return Table("changes", "Known changes", columns, lines, empty="The book knows of no change to come.")


def _changes(request: PageRequest, provider: str, model: str) -> Iterator[tuple[int, str, str]]:
    catalog, at_s = request.state.book.catalog, request.now_us // 1_000_000
    known = catalog.find(catalog.canonical(provider), model.lower(), at_s)
    for row in known.rows if known is not None else ():
        if row.from_s > at_s:
            prices = ", ".join(f"{unit} {price_text(price, unit)}" for unit, price in sorted(row.prices.items()))
            yield row.from_s, known.name if known else model, prices


PAGE = Page("/models", "Models", show, since="30d", shortcut="m")
