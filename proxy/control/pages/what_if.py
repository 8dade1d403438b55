"""`/what-if`: what the calls of a time would have cost with other models, prices, tiers or cache shares; how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from pricing.units import UNITS, default_per
from proxy.config.typed_price import typed_price
from proxy.control.pages import view
from proxy.control.pages.address import Address
from proxy.control.pages.api_address import api_address
from proxy.control.pages.page import Page, PageContent, PageRequest
from proxy.control.pages.tables import Column, Row, Table, nano
from proxy.reports.calendar import spend_by
from proxy.reports.spend import SpendRow
from proxy.reports.what_if.alternatives import Change, swap_of
from proxy.reports.what_if.answer import WhatIfShown, cache_share, learned_ratios, what_if_answer
from proxy.times import DAY_US, BadQuestion

_MILLION = 1_000_000
_PRICE = "price."
_USUAL = ("input", "cache_read", "output")


def show(request: PageRequest) -> PageContent:
    """`?swap=FROM=TO` (several with commas), `?tier=batch|flex|priority`, `?cache=0.8`; `?model=`, `?provider=` and
    `?price.UNIT=USD`, and one more by `?unit=` and `?usd=`: a price that is typed. Raises `BadQuestion`."""
    if request.address.filters:
        raise BadQuestion("filter: all calls of the time are taken; models are named in `swap`")
    address = request.address
    swap, tier, cache = (address.get(name) for name in ("swap", "tier", "cache"))
    since, until = request.moments()
    ends = request.now_us if until is None else until
    begins = ends - 30 * DAY_US if since is None else since
    used = spend_by(request.state.engine, ["model"], begins, ends)
    prices = _prices(address)
    model, provider = address.get("model"), address.get("provider")
    values: dict[str, Any] = {
        "swap": swap,
        "tier": tier,
        "cache": cache,
        "models": [name for row in used[:50] if (name := row.group["model"])],
        "model": model,
        "provider": provider,
        "units": _units(used, model, prices),
        "all_units": list(UNITS),
    }
    typed = typed_price(provider, model, prices) if prices or not model else None
    if not (swap or tier or cache or typed):
        return PageContent("what_if", "What if", values | {"result": None}, crumbs=(("Models", "/models"),))
    book, own = request.state.own_book(), request.state.own_book(typed) if typed else None
    at_s = min(ends, request.now_us) // 1_000_000
    swaps = tuple(swap_of(text, own or book, at_s) for text in swap.split(",") if text)
    change = Change(swaps, tier or None, cache_share(cache or None), own=own)
    learned = learned_ratios(Path(request.state.config().data_dir))
    shown: Any = what_if_answer(request.state.engine, book, change, begins, ends, learned, request.now_us).shown
    assert isinstance(shown, WhatIfShown)
    said: dict[str, Any] = {"swap": swap, "tier": tier, "cache": cache}
    if typed:
        said |= {"provider": provider, "model": model} | {f"price.{unit}": usd for unit, usd in prices.items()}
    api = api_address(request, "/api/reports/what-if", **said)
    amounts = [nano(shown.cost_usd), nano(shown.what_if_usd), nano(shown.low_usd), nano(shown.high_usd)]
    decimals = view.decimals_for(amounts)
    cost, other, low, high = (view.usd(amount, decimals) for amount in amounts)
    values["spend"] = str(request.address.at("/spend", by=("model",)))
    values["result"] = {"cost": cost, "what_if": other, "low": low, "high": high, "caveats": shown.about.caveats}
    values["line"] = _line(provider, model, prices) if typed else ""
    return PageContent(
        "what_if", "What if", values, (_items(request, shown), _left_out(shown)), (("Models", "/models"),), api
    )


def _prices(address: Address) -> dict[str, str]:
    """Unit -> USD, as they are typed. Raises `BadQuestion`."""
    prices = {name.removeprefix(_PRICE): usd for name, usd in address.rest if name.startswith(_PRICE)}
    unit, usd = address.get("unit"), address.get("usd")
    if bool(unit) != bool(usd):
        raise BadQuestion("usd: say what the unit costs" if unit else "unit: say what costs that")
    return prices | ({unit: usd} if unit else {})


def _units(used: Sequence[SpendRow], model: str, prices: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The fields of the form, (unit, what a price is for, what is typed): what the model's calls used in this time first."""
    own = [unit for row in used if row.group["model"] == model for unit, amount in row.usage.items() if Decimal(amount)]
    known = [unit for unit in dict.fromkeys([*own, *_USUAL, *prices]) if unit in UNITS]
    return [(unit, "a million" if default_per(unit) == _MILLION else "each", prices.get(unit, "")) for unit in known]


def _line(provider: str, model: str, prices: Mapping[str, str]) -> str:
    """The row of the configuration that would make it so."""
    return json.dumps({"provider": provider or "*", "model": model, **prices}, ensure_ascii=False)


def _items(request: PageRequest, shown: WhatIfShown) -> Table:
    columns = [
        Column("model", "Model", "name"),
        Column("to", "As", "name"),
        Column("cost", "Cost", "usd"),
        Column("what_if", "Would be", "usd"),
        Column("low", "At least", "usd"),
        Column("high", "At most", "usd"),
        Column("caveats", "Mind", "prose"),
    ]
    rows = [
        Row(
            {
                "model": item.model,
                "to": item.to,
                "cost": nano(item.cost_usd) or (None if item.unpriced else 0),
                "what_if": nano(item.what_if_usd),
                "low": nano(item.low_usd),
                "high": nano(item.high_usd),
                "caveats": "; ".join(item.caveats) or None,
            },
            {"model": str(request.address.at("/calls").filtered("model", item.model))},
            to=str(request.address.at("/calls").filtered("model", item.model)),
        )
        for item in shown.items
    ]
    return Table("what-if", "By model", columns, rows, empty="No call of this time is concerned.")


def _left_out(shown: WhatIfShown) -> Table:
    rows = [Row({"why": text}) for text in shown.left_out]
    columns = [Column("why", "Model, its cost, and why", "prose")]
    return Table("left-out", "Left out, and in none of these numbers", columns, rows, empty="Nothing.")


PAGE = Page("/what-if", "", show, since="30d", whole="30 days")
