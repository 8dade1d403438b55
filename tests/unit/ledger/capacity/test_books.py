"""The books of a capacity, on both databases: each second once, whatever happens to those who keep them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ids import Ids
from proxy.ledger.capacity.books import close_minutes, end_books, keep, open_books, read_books
from proxy.ledger.capacity.prices import share_prices
from proxy.ledger.capacity.watch import EVER, Life, final_until, lives, say
from proxy.ledger.capacity_schema import capacity_minutes
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.entries.corrections import correction_of
from proxy.ledger.entries.entry import Entry
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.pairing import Pairing
from proxy.ledger.schema import entries
from proxy.reports.spend import spend
from proxy.spool.frames import Position
from proxy.times import HOUR_US, MINUTE_US
from tests.support.machines import MORNING, POOL, TERMS, call, finish, ship, simulate, sums
from tests.support.spooled import as_read

IDS = Ids()
BY_TIME = TERMS._replace(share="time", milliwatts=None)
A_MINUTE = 4 * 2_500_000_000 // 60


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    made = open_ledger(database)
    with writing(made).begin() as connection:
        open_books(connection, POOL, MORNING)
    yield made
    made.dispose()


def shares(engine: Engine) -> list[int | None]:
    with engine.connect() as connection:
        return list(
            connection.execute(
                sa.select(entries.c.capacity_nanousd).order_by(entries.c.started_at, entries.c.ended_at)
            ).scalars()
        )


def minutes(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(capacity_minutes).order_by(capacity_minutes.c.minute_at)))


def adds_up(engine: Engine, length_us: int) -> dict[str, int]:
    made = sums(engine)
    assert made["cost_nanousd"] == TERMS.rates.cost(MORNING, MORNING + length_us)
    assert made["busy_nanousd"] + made["idle_nanousd"] + made["outside_nanousd"] == made["cost_nanousd"]
    assert made["shares_nanousd"] == made["busy_nanousd"]
    assert (made["time_us"], made["open"]) == (length_us, 0)
    return made


@pytest.mark.long
def test_a_simulated_day_in_small(database: str) -> None:
    """Bursts, a night, two instances that are killed and come back, calls longer than anybody waits for."""
    made = open_ledger(database)
    day = simulate(made, 300, minutes=100)
    finish(made, MORNING + 100 * MINUTE_US)

    assert day.killed
    assert adds_up(made, 100 * MINUTE_US)["idle_nanousd"] > 0
    (total,) = spend(made, [], None, None)
    assert total.capacity_nanousd == sums(made)["shares_nanousd"]
    by_team = spend(made, ["team"], None, None)
    assert sum(row.capacity_nanousd for row in by_team) == total.capacity_nanousd
    assert spend(made, ["team"], None, None, rolled=False) == by_team
    made.dispose()


def test_a_call_of_several_minutes_gets_its_share_when_the_last_is_over(engine: Engine) -> None:
    ship(engine, call(30, 150), call(60, 120))
    for minute in (1, 2):
        close_minutes(engine, POOL, BY_TIME, MORNING + minute * MINUTE_US)
    assert [share is None for share in shares(engine)] == [True, False]
    finish(engine, MORNING + 3 * MINUTE_US, BY_TIME)

    first, second = shares(engine)
    assert (first, second) == (250_000_001, 83_333_333)  # of half a minute, a whole one less half, and half a one
    adds_up(engine, 3 * MINUTE_US)


def test_closing_again_changes_nothing(engine: Engine) -> None:
    ship(engine, call(0, 30))
    finish(engine, MORNING + MINUTE_US)
    before = minutes(engine), shares(engine)
    finish(engine, MORNING + MINUTE_US)
    assert (minutes(engine), shares(engine)) == before


def test_a_call_that_comes_late_has_what_was_idle_and_nobody_loses(engine: Engine) -> None:
    ship(engine, call(0, 20))
    finish(engine, MORNING + 2 * MINUTE_US, BY_TIME)
    ship(engine, call(10, 70), call(130, 140))
    finish(engine, MORNING + 3 * MINUTE_US, BY_TIME)

    made = adds_up(engine, 3 * MINUTE_US)
    first, late, usual = shares(engine)
    assert (first, usual) == (A_MINUTE // 3, A_MINUTE // 6 + 1)
    assert late == made["late_nanousd"]
    assert abs(late - A_MINUTE * 5 // 6) <= 2  # of its minute, ten seconds were another's
    row = minutes(engine)[0]
    assert (row.requests, row.busy_us, row.calls_us) == (2, 60_000_000, 70_000_000)


@pytest.mark.long
def test_a_call_that_expired_goes_on_where_it_was_charged(engine: Engine) -> None:
    """Longer than a day: it is charged when its reservation expires, and its machines are still its own until it ends."""
    charged = call(0, 3600, status="unconfirmed", outcome="expired", cost_nanousd=9, usage={})
    ship(engine, charged)
    finish(engine, MORNING + 60 * MINUTE_US, BY_TIME)
    finish(engine, MORNING + 25 * HOUR_US, BY_TIME)
    settled = call(0, 25 * 3600)
    late = correction_of(
        settled.with_row(settled.row._replace(id=charged.row.id, capacity=POOL)), charged.row._asdict()
    )
    assert late is not None
    ship(engine, settled.with_row(settled.row._replace(id=charged.row.id)))
    finish(engine, MORNING + 26 * HOUR_US, BY_TIME)

    made = adds_up(engine, 26 * HOUR_US)
    assert shares(engine) == [3600 * 10 * 10**9 // 3600, 24 * 10 * 10**9]
    assert made["idle_nanousd"] == 10 * 10**9


def expired_and_ended(until_s: float, **fields: Any) -> tuple[Entry, Entry]:
    """A call that began at 0: as it is when its reservation has expired, behind an hour, and as it ends."""
    charged = call(0, 3600, status="unconfirmed", outcome="expired", cost_nanousd=9, usage={})
    settled = call(0, until_s, **fields)
    return charged, settled.with_row(settled.row._replace(id=charged.row.id))


@pytest.mark.parametrize("share", ["time", "tokens"])
def test_a_call_longer_than_its_reservation_has_the_share_of_any_other_call(
    engine: Engine, tmp_path: Path, share: Any
) -> None:
    """Nobody closes a minute of it before it ends; then it has of each as if it had never expired."""
    terms = TERMS._replace(share=share)
    beside = [call(1800, 1830), call(5400, 5430), call(7190, 7230)]
    charged, ended = expired_and_ended(7200, usage={"input": 7000, "output": 9000})
    ship(engine, charged)
    ship(engine, ended, *beside)
    finish(engine, MORNING + 3 * HOUR_US, terms)
    adds_up(engine, 3 * HOUR_US)
    with engine.connect() as connection:
        query = sa.select(entries.c.id, entries.c.kind, entries.c.capacity_nanousd, entries.c.energy_millijoules)
        told = {row.id: row for row in connection.execute(query)}
    charge, whole = told[charged.row.id], next(row for row in told.values() if row.kind == "correction")
    assert (charge.capacity_nanousd, charge.energy_millijoules) == (0, 0)
    told[charge.id] = whole
    (total,) = spend(engine, [], None, None)
    assert total.capacity_nanousd == sums(engine)["shares_nanousd"]

    usual = open_ledger(f"sqlite:///{tmp_path}/usual.db")
    with writing(usual).begin() as connection:
        open_books(connection, POOL, MORNING)
    ship(usual, ended, *beside)
    finish(usual, MORNING + 3 * HOUR_US, terms)
    with usual.connect() as connection:
        for row in connection.execute(query):
            assert told[row.id].capacity_nanousd == row.capacity_nanousd > 0
            assert told[row.id].energy_millijoules == row.energy_millijoules
    usual.dispose()


def test_a_call_longer_than_its_reservation_costs_its_share_where_that_is_the_price(engine: Engine) -> None:
    """It was charged 9 nano-dollars at its ceiling and 7 at its end; the share takes the place of both, once."""
    charged, ended = expired_and_ended(7200)
    ship(engine, charged)
    assert share_prices_of(engine) == []
    ship(engine, ended)
    assert share_prices_of(engine) == []
    finish(engine, MORNING + 3 * HOUR_US, BY_TIME)
    (made,) = share_prices_of(engine)
    assert (made.row.corrects_id, made.row.cost_nanousd) == (charged.row.id, 20 * 10**9 - 7)
    ship(engine, made)
    assert share_prices_of(engine) == []
    (total,) = spend(engine, [], None, None)
    assert total.cost_nanousd == total.capacity_nanousd == 20 * 10**9


def share_prices_of(engine: Engine) -> list[Entry]:
    with engine.connect() as connection:
        return share_prices(connection, POOL, MORNING)


def test_minutes_wait_for_a_call_whose_reservation_has_expired() -> None:
    """It runs on, and its machines with it."""
    pairing = Pairing("i", Position(0, 0))
    intent = {
        "t": "intent",
        "id": IDS.new(MORNING),
        "upstream": "gpu",
        "started_at": MORNING,
        "deadline_at": MORNING + 5,
    }
    records = [orjson.dumps(intent), orjson.dumps({"t": "expired", "id": intent["id"], "at": MORNING + 6})]
    pairing.take(as_read(records), Batch())
    assert pairing.open_since({"gpu"}) == MORNING
    assert pairing.open_since({"another"}) is None
    pairing.crashed(Batch(), MORNING + 9)
    assert pairing.open_since({"gpu"}) is None


def test_a_process_that_was_killed_had_its_calls_until_it_was_last_heard_of(engine: Engine) -> None:
    with writing(engine).begin() as connection:
        say(connection, Life("i", MORNING, MORNING + 40_000_000, MORNING + 10_000_000))
        say(connection, Life("i", MORNING + 170_000_000, MORNING + 240_000_000, EVER))
    ship(engine, call(10, 170, outcome="crashed", status="unconfirmed", usage={}, cost_nanousd=9))
    finish(engine, MORNING + 4 * MINUTE_US, BY_TIME)

    adds_up(engine, 4 * MINUTE_US)
    assert shares(engine) == [A_MINUTE // 2]
    assert [row.unobserved_us for row in minutes(engine)] == [20_000_000, 60_000_000, 50_000_000, 0]


def test_books_begin_and_go_on_in_the_middle_of_a_minute(database: str) -> None:
    engine = open_ledger(database)
    with writing(engine).begin() as connection:
        open_books(connection, POOL, MORNING + 45_000_000)
        open_books(connection, POOL, MORNING + 50_000_000)  # they are begun
    finish(engine, MORNING + 2 * MINUTE_US)
    with writing(engine).begin() as connection:
        end_books(connection, [], MORNING + 2 * MINUTE_US, MORNING + 2 * MINUTE_US)
        open_books(connection, POOL, MORNING + 10 * MINUTE_US + 30_000_000)
    finish(engine, MORNING + 11 * MINUTE_US)

    assert [row.time_us for row in minutes(engine)] == [15_000_000, 60_000_000, 30_000_000]
    assert sum(row.cost_nanousd for row in minutes(engine)) in (A_MINUTE * 105 // 60, A_MINUTE * 105 // 60 + 1)
    engine.dispose()


def test_one_keeps_the_books_at_a_time_and_another_when_that_one_is_gone(engine: Engine) -> None:
    with writing(engine).begin() as connection:
        assert keep(connection, POOL, "a", 100, 115)
        assert not keep(connection, POOL, "b", 110, 125)
        assert keep(connection, POOL, "a", 112, 127)
        assert keep(connection, POOL, "b", 128, 143)
        assert not keep(connection, POOL, "a", 129, 144)


def test_minutes_wait_for_calls_that_are_open_and_for_who_was_killed_as_long_as_a_call_may_take(engine: Engine) -> None:
    hour, now = HOUR_US, MORNING + 30 * MINUTE_US
    alive, waiting = Life("a", 0, now, now - 5), Life("b", 0, now, now - 600_000_000)
    left, killed = Life("c", 0, now - hour // 4, EVER), Life("d", 0, now - hour // 4, now - hour // 3)

    assert final_until([alive], now, hour) == now - 5
    assert final_until([alive, waiting], now, hour) == now - 600_000_000
    assert final_until([alive, left], now, hour) == now - 5
    assert final_until([alive, killed], now, hour) == now - hour // 3
    assert final_until([alive, killed], now, hour // 5) == now - 5
    assert final_until([killed, killed._replace(since_at=1, until_at=now, complete_until=now)], now, hour) == now


def test_lives_are_read_back_each_instances_last_one_in_any_case(engine: Engine) -> None:
    told = [Life("a", 1, 5, 5), Life("a", 10, 20, 20), Life("b", 2, 3, 3)]
    with writing(engine).begin() as connection:
        for life in told:
            say(connection, life)
        say(connection, told[1]._replace(until_at=30))
        assert lives(connection, 25) == [told[2], told[1]._replace(until_at=30)]
        assert lives(connection, 4) == [told[0], told[2], told[1]._replace(until_at=30)]


def test_the_sums_of_the_books_never_fall(engine: Engine) -> None:
    ship(engine, call(0, 20))
    finish(engine, MORNING + MINUTE_US, BY_TIME)
    with engine.connect() as connection:
        books = read_books(connection, POOL)
        assert books is not None
        before = dict(books.totals)
    ship(engine, call(30, 40))
    finish(engine, MORNING + 2 * MINUTE_US, BY_TIME)
    with engine.connect() as connection:
        books = read_books(connection, POOL)
        assert books is not None
    assert all(books.totals[name] >= amount for name, amount in before.items())
    assert books.totals["late"] == A_MINUTE // 6
