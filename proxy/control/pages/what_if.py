"""`/what-if`: what the calls of a time would have cost with other models, tiers or cache shares, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from proxy.control.pages import view
from proxy.control.pages.asking import as_api
from proxy.control.pages.page import Asked, Page, Shown
from proxy.control.pages.tables import Column, Row, Table, nano
from proxy.reports.alternatives import Change, swap_of
from proxy.reports.calendar import spend_by
from proxy.reports.what_if import WhatIfShown, cache_share, learned_ratios, what_if_answer
from proxy.times import BadQuestion

_DAY_US = 86_400_000_000


def show(asked: Asked) -> Shown:
    """`?swap=FROM=TO` (several with commas), `?tier=batch|flex|priority`, `?cache=0.8`. Raises `BadQuestion`."""
    if asked.address.filters:
        raise BadQuestion("filter: all calls of the time are taken; models are named in `swap`")
    swap, tier, cache = (asked.address.get(name) for name in ("swap", "tier", "cache"))
    since, until = asked.moments()
    ends = asked.now_us if until is None else until
    begins = ends - 30 * _DAY_US if since is None else since
    used = [row.group["model"] for row in spend_by(asked.state.engine, ["model"], begins, until)[:50]]
    values: dict[str, Any] = {"swap": swap, "tier": tier, "cache": cache, "models": [name for name in used if name]}
    if not (swap or tier or cache):
        return Shown("what_if", "What if", values | {"result": None}, crumbs=(("Models", "/models"),))
    book = asked.state.own_book()
    at_s = min(ends, asked.now_us) // 1_000_000
    swaps = tuple(swap_of(text, book, at_s) for text in swap.split(",") if text)
    change = Change(swaps, tier or None, cache_share(cache or None))
    learned = learned_ratios(Path(asked.state.config().data_dir))
    shown: Any = what_if_answer(asked.state.engine, book, change, begins, ends, learned, asked.now_us).shown
    assert isinstance(shown, WhatIfShown)
    api = as_api(asked, "/api/reports/what-if", swap=swap, tier=tier, cache=cache)
    amounts = [nano(shown.cost_usd), nano(shown.what_if_usd), nano(shown.low_usd), nano(shown.high_usd)]
    decimals = view.decimals_for(amounts)
    cost, other, low, high = (view.usd(amount, decimals) for amount in amounts)
    values["spend"] = str(asked.address.at("/spend", by=("model",)))
    values["result"] = {"cost": cost, "what_if": other, "low": low, "high": high, "caveats": shown.about.caveats}
    return Shown("what_if", "What if", values, (_items(asked, shown), _left_out(shown)), (("Models", "/models"),), api)


def _items(asked: Asked, shown: WhatIfShown) -> Table:
    columns = [
        Column("model", "Model", "name"),
        Column("to", "As", "name"),
        Column("cost", "Cost", "usd"),
        Column("what_if", "Would be", "usd"),
        Column("low", "At least", "usd"),
        Column("high", "At most", "usd"),
        Column("caveats", "Mind", "name"),
    ]
    rows = [
        Row(
            {
                "model": item.model,
                "to": item.to,
                "cost": nano(item.cost_usd),
                "what_if": nano(item.what_if_usd),
                "low": nano(item.low_usd),
                "high": nano(item.high_usd),
                "caveats": "; ".join(item.caveats) or None,
            },
            to=str(asked.address.at("/calls").filtered("model", item.model)),
        )
        for item in shown.items
    ]
    return Table("what-if", "By model", columns, rows, empty="No call of this time is concerned.")


def _left_out(shown: WhatIfShown) -> Table:
    rows = [Row({"why": text}) for text in shown.left_out]
    columns = [Column("why", "Model, its cost, and why", "text")]
    return Table("left-out", "Left out, and in none of these numbers", columns, rows, empty="Nothing.")


PAGE = Page("/what-if", "", show, since="30d", whole="30 days")
