"""A reload while a call is in flight: the call ends by the configuration that it began with, the next one by the new one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from pricing.load import load_book
from proxy.budgets.budget import compile_budgets
from proxy.config.model import Budget, Config
from proxy.config.reading import adapter, read_section
from proxy.dataplane.redefined import definitions_of, redefine, take_seeds
from proxy.exchange.configured import configure
from proxy.times import now_s
from tests.flow.house import HARD, Build, House, Upstreams, whole

DEARER = [{"provider": "acme", "model": "m", "input": "100", "output": "200"}]


def reload(house: House, **changes: Any) -> None:
    """What a data plane does at SIGHUP, with the same upstream behind it."""
    plane = house.plane
    tree = adapter(Config).dump_python(plane.configured.config, by_alias=True) | changes
    configured = configure(read_section(Config, tree), {}, load_book(), alone=plane.keys.is_single)
    configured.upstreams = Upstreams(configured.upstreams, house._send)  # type: ignore[misc]  # there is no other way in
    plane.configured = configured


async def test_a_call_in_flight_is_priced_by_the_book_that_its_ceiling_was_made_with(build: Build) -> None:
    house = build(**HARD)
    asked, answered = asyncio.Event(), asyncio.Event()

    async def late() -> Any:
        asked.set()
        await answered.wait()
        return whole()

    call = asyncio.create_task(house.ask(late))
    await asked.wait()
    reload(house, prices=DEARER)
    answered.set()
    told = await call

    assert told.headers["x-taximeter-cost-usd"] == "0.00004"
    intent, settle = (record for record in house.records() if record["t"] in ("intent", "settle"))
    assert settle["cost_nanousd"] == 40_000 <= intent["reserved_nanousd"]
    assert settle["price_version"] == intent["price_version"]


async def test_the_next_call_is_priced_by_the_new_one(build: Build) -> None:
    house = build()
    reload(house, prices=DEARER)

    assert (await house.ask(max_tokens=10)).headers["x-taximeter-cost-usd"] == "0.004"


async def test_a_call_that_waits_for_room_follows_a_raised_limit_and_keeps_its_price(build: Build) -> None:
    """Limits are as they are now; prices are those that the ceiling was made with."""
    house = build(**HARD)
    held, released = asyncio.Event(), asyncio.Event()

    async def late() -> Any:
        held.set()
        await released.wait()
        return whole()

    first = asyncio.create_task(house.ask(late, max_tokens=4000))
    await held.wait()
    second = asyncio.create_task(house.ask(max_tokens=4000))
    while "waiting" not in house.kinds():
        await asyncio.sleep(0)
    configured = house.plane.configured
    reload(house, prices=DEARER)
    house.plane.configured = replace(house.plane.configured, budgets=configured.budgets)
    released.set()

    assert (await first).status == (await second).status == 200
    assert [record["cost_nanousd"] for record in house.records() if record["t"] == "settle"] == [40_000, 40_000]


async def test_a_redefined_budget_keeps_what_ends_while_it_waits_for_its_base(build: Build) -> None:
    """Two calls of 40,000 nano-USD each, of which the ledger has the first by then; by the new definition one more counts."""
    house = build(**HARD)
    plane, held, released = house.plane, asyncio.Event(), asyncio.Event()

    async def late() -> Any:
        held.set()
        await released.wait()
        return whole()

    await house.ask()
    in_flight = asyncio.create_task(house.ask(late))
    await held.wait()
    before = definitions_of(plane)
    reload(house, budgets=[HARD["budgets"][0] | {"match": {"team": ["t"]}}])
    redefine(plane, before)
    next_call = asyncio.create_task(house.ask())
    released.set()
    assert (await in_flight).status == 200
    seed = {
        "budget": "b", "group": "", "window_start": 0, "window_end": None, "measure": "usd", "limit": 10**7, "spent": 90_000,
        "base": 50_000,
    }  # fmt: skip
    take_seeds(plane, [seed | {"base": 7, "spent": 40_007}], before)  # of the definition before, which comes late
    assert not next_call.done()
    take_seeds(plane, [seed], definitions_of(plane))
    assert (await next_call).status == 200
    for again in range(2):  # a control process that was started anew says it again
        (standing,) = plane.store.standings()
        assert (standing.spent, standing.reserved, again) == (170_000, 0, again)
        take_seeds(plane, [seed], definitions_of(plane))


async def test_a_budget_of_another_window_begins_with_what_the_ledger_says(build: Build) -> None:
    house = build(**HARD)
    plane = house.plane
    await house.ask()
    before = definitions_of(plane)
    reload(house, budgets=[HARD["budgets"][0] | {"window": "month"}])
    redefine(plane, before)
    (budget,) = plane.configured.budgets.budgets
    start, end = budget.window_now(now_s())
    assert plane.store.standings() == []
    seed = {"budget": "b", "group": "", "window_start": start, "window_end": end, "measure": "usd", "limit": 10**7}
    take_seeds(plane, [seed | {"spent": 40_000, "base": 40_000}], definitions_of(plane))
    await house.ask()
    assert [one.spent for one in plane.store.standings()] == [80_000]


async def test_what_the_ledger_says_before_the_reload_is_heard_here_is_kept_for_it(build: Build) -> None:
    """The control process may have the new configuration long before a data plane that has much to do."""
    house = build(**HARD)
    plane = house.plane
    before = definitions_of(plane)
    changed = HARD["budgets"][0] | {"match": {"team": ["t"]}}
    (budget,) = compile_budgets([read_section(Budget, changed)])
    seed = {
        "budget": "b", "group": "", "window_start": 0, "window_end": None, "measure": "usd", "limit": 10**7, "spent": 50_000,
        "base": 50_000,
    }  # fmt: skip
    take_seeds(plane, [seed], {"b": budget.definition})
    assert plane.store.standings() == []
    reload(house, budgets=[changed])
    redefine(plane, before)
    assert (await asyncio.wait_for(house.ask(), 2)).status == 200
    assert [one.spent for one in plane.store.standings()] == [90_000]
    assert plane.early_seeds is None
