"""Stripe and Lago: whole numbers that add up to the ledger, ids that stay the same, duplicates that are success."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.exports.sink import Later
from proxy.exports.status import sinks_shown
from proxy.ledger.beside.export_log import ask_again
from proxy.ledger.export_schema import export_set_aside
from proxy.ledger.schema import counted, entries
from proxy.times import now_us
from tests.support.export_receiver import KEY
from tests.support.exported import Told, drain, exporter, ids
from tests.support.made_up import fill, made_up

CUSTOMERS = {"acme": "cus_acme", "globex": "cus_globex", "ümlaut": "cus_umlaut"}


def stripe(told: Told, **changes: Any) -> dict[str, Any]:
    return {"type": "stripe", "url": told.url, "api_key": KEY, "subjects": CUSTOMERS} | changes


def lago(told: Told, **changes: Any) -> dict[str, Any]:
    return {"type": "lago", "url": told.url, "api_key": KEY, "subjects": {"acme": "sub-1"}} | changes


def shown(engine: Engine, name: str) -> dict[str, Any]:
    return next(row for row in sinks_shown(engine, {name: "x"}, now_us()) if row["name"] == name)


def sums(engine: Engine, column: sa.Column[Any]) -> dict[str, int]:
    query = sa.select(entries.c.customer, sa.func.sum(column)).where(counted()).group_by(entries.c.customer)
    with engine.connect() as connection:
        return {name: int(amount or 0) for name, amount in connection.execute(query) if name is not None}


def test_stripe_gets_every_payers_tokens_once(engine: Engine, told: Told) -> None:
    one = exporter(engine, stripe(told))
    fill(engine, made_up(60))
    told.plan({"status": 429, "headers": {"retry_after": "3"}}, {"status": 500, "taken": True})
    with pytest.raises(Later):
        drain(one)
    drain(one)  # what was taken behind a 500 is there already, and Stripe says so
    events = told.taken()
    assert max(Counter(event["id"] for event in events).values()) == 1
    for unit, column in (("input", entries.c.input_tokens), ("reasoning", entries.c.reasoning_tokens)):
        told_sums: Counter[str] = Counter()
        for event in events:
            if event["payload"]["token_type"] == unit:
                told_sums[event["payload"]["stripe_customer_id"]] += int(event["payload"]["value"])
        assert told_sums == Counter(
            {CUSTOMERS[name]: amount for name, amount in sums(engine, column).items() if amount}
        )
    assert {event["event_name"] for event in events} == {"token-billing-tokens"}
    state = shown(engine, "stripe")
    nothing = sa.and_(entries.c.input_tokens + entries.c.output_tokens == 0, entries.c.usage.is_(None))
    assert state["skipped"] == len(ids(engine, sa.or_(entries.c.customer.is_(None), nothing)))
    assert state["lag_entries"] == 0


def test_stripe_gets_costs_in_whole_nano_dollars_and_corrections_take_back(engine: Engine, told: Told) -> None:
    one = exporter(engine, stripe(told, measure="cost"))
    fill(engine, made_up(120))
    drain(one)
    told_sums: Counter[str] = Counter()
    for event in told.taken():
        told_sums[event["payload"]["stripe_customer_id"]] += int(event["payload"]["value"])
    assert told_sums == Counter({CUSTOMERS[name]: cost for name, cost in sums(engine, entries.c.cost_nanousd).items()})
    assert any(event["payload"]["value"].startswith("-") for event in told.taken())
    assert shown(engine, "stripe")["set_aside"] == 0


def test_a_customer_that_stripe_does_not_know_is_set_aside_until_it_is_named(sqlite: Engine, told: Told) -> None:
    one = exporter(sqlite, stripe(told, subjects={}))
    fill(sqlite, made_up(5))
    drain(one)
    with sqlite.connect() as connection:
        aside = connection.execute(sa.select(export_set_aside)).mappings().all()
    assert len(aside) > 0
    assert "No such customer" in aside[0]["reason"]
    assert told.taken() == []
    ask_again(sqlite, "stripe")
    drain(exporter(sqlite, stripe(told)))
    assert len(told.taken()) == len(aside)
    assert shown(sqlite, "stripe")["set_aside"] == 0


def test_what_is_no_whole_number_is_set_aside(sqlite: Engine, told: Told) -> None:
    one = exporter(sqlite, stripe(told, measure="units"))
    (entry,) = made_up(1)
    fill(sqlite, [entry.with_row(entry.row._replace(customer="acme", usage='{"audio_second":"1.25"}'))])
    drain(one)
    assert shown(sqlite, "stripe")["set_aside"] == 1
    assert {event["payload"]["token_type"] for event in told.taken()} == {"input", "output"}


def test_lago_gets_tokens_in_batches_and_what_is_there_already_is_success(engine: Engine, told: Told) -> None:
    one = exporter(engine, lago(told, measure="units"))
    fill(engine, made_up(150))
    told.plan({"status": 503, "taken": True})
    with pytest.raises(Later):
        one.step()
    drain(one)
    events = told.taken()
    assert max(Counter(event["id"] for event in events).values()) == 1
    told_sums: Counter[str] = Counter()
    for event in events:
        if event["code"] == "llm_input_tokens":
            told_sums[event["external_subscription_id"]] += int(event["properties"]["value"])
    wanted = {
        "sub-1" if name == "acme" else name: tokens for name, tokens in sums(engine, entries.c.input_tokens).items()
    }
    assert told_sums == Counter(wanted)
    assert {"llm_input_tokens", "llm_output_tokens", "llm_cached_input_tokens", "llm_web_search"} <= {
        e["code"] for e in events
    }


def test_lago_sets_aside_the_events_that_it_names(engine: Engine, told: Told) -> None:
    one = exporter(engine, lago(told, measure="cost"))
    fill(engine, made_up(150))
    told.plan(refuse="globex")
    drain(one)
    refused = ids(engine, entries.c.customer == "globex", entries.c.cost_nanousd != 0)
    with engine.connect() as connection:
        aside = sorted(connection.execute(sa.select(export_set_aside.c.event_id)).scalars())
    assert aside == refused
    wanted = sums(engine, entries.c.cost_nanousd)
    got: dict[str, Decimal] = {}
    for event in told.taken():
        assert event["code"] == "llm_cost"
        got.setdefault(event["external_subscription_id"], Decimal())
        got[event["external_subscription_id"]] += Decimal(event["properties"]["value"])
        assert Decimal(event["precise_total_amount_cents"]) == Decimal(event["properties"]["value"]) * 100
    assert got == {
        "sub-1" if name == "acme" else name: Decimal(cost) / 10**9 for name, cost in wanted.items() if name != "globex"
    }
