"""A capacity's report: the same cost whatever the span, its parts add up, and minutes that are not closed are told as they will be."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from pricing.load import load_book
from pricing.usage import Reading
from proxy.capacity.server_metrics import Increase
from proxy.cli.capacity import app
from proxy.config.capacity import Capacity
from proxy.config.reading import adapter, read_section
from proxy.ledger.capacity.books import close_minutes, open_books, read_books
from proxy.ledger.capacity_schema import capacities, capacity_minutes, capacity_samples
from proxy.ledger.database import open_ledger, writing
from proxy.reports.capacity.compared_prices import compared_prices
from proxy.reports.capacity.costs import CapacityReport, capacity_report
from proxy.reports.capacity.shapes import CapacityShown, capacity_shown
from proxy.times import MINUTE_US, BadQuestion
from tests.support.machines import MORNING, POOL, TERMS, call, finish, ship, simulate, sums

MINUTES = 120
END = MORNING + MINUTES * MINUTE_US
BOOK = load_book()
ROW = read_section(Capacity, {
    "name": POOL, "upstreams": ["gpu"], "usd_per_hour": "2.50", "units": 4, "power": {"watts": 700, "idle_watts": 80},
    "co2": {"grams_per_kwh": 100}, "compare": ["openai/gpt-5-mini", "nobody/knows"],
})  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two hours, of which the last ten minutes are not closed."""
    made = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('capacity')}/ledger.db")
    simulate(made, 500, minutes=MINUTES, seed=3, open_from=MINUTES - 10)
    yield made
    made.dispose()


def report(
    engine: Engine, since: int | None = None, until: int | None = None, by: tuple[str, ...] = ()
) -> CapacityReport:
    return capacity_report(engine, ROW, since, until, now=END, book=BOOK, by=by)


def shown(engine: Engine, by: tuple[str, ...] = ()) -> CapacityShown:
    return capacity_shown(report(engine, by=by), by)


def adds_up(made: CapacityReport) -> None:
    sums = made.sums
    assert sums["busy_nanousd"] + sums["idle_nanousd"] + sums["outside_nanousd"] == sums["cost_nanousd"]


@pytest.mark.long
def test_all_of_it(engine: Engine) -> None:
    made = report(engine, by=("team",))

    adds_up(made)
    assert made.sums["cost_nanousd"] == TERMS.rates.cost(MORNING, END)
    assert sum(group.nanousd for group in made.groups.values()) == made.sums["busy_nanousd"]
    assert made.provisional_since is not None


@pytest.mark.parametrize("seed", range(6))
def test_any_span_adds_up_and_so_do_its_groups(engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    since, until = sorted(MORNING + minute * MINUTE_US for minute in chance.sample(range(MINUTES + 1), 2))
    made = report(engine, since, until, ("team", "model"))

    adds_up(made)
    assert made.sums["cost_nanousd"] == TERMS.rates.cost(since, until)
    assert sum(group.nanousd for group in made.groups.values()) == made.sums["busy_nanousd"]


def test_neighbouring_spans_make_the_whole(engine: Engine) -> None:
    edges = [MORNING, MORNING + 17 * MINUTE_US, MORNING + 80 * MINUTE_US, END]
    parts = [report(engine, a, b).sums for a, b in zip(edges, edges[1:], strict=False)]

    whole = report(engine, MORNING, END).sums
    assert {name: sum(part[name] for part in parts) for name in whole} == whole


def test_what_is_not_closed_yet_is_told_as_it_will_be(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    simulate(engine, 100, minutes=30, instances=1, seed=8, open_from=11)
    end = MORNING + 30 * MINUTE_US
    before = capacity_report(engine, ROW, None, end, now=end, book=BOOK, by=("team",))
    finish(engine, end)
    after = capacity_report(engine, ROW, None, end, now=end, book=BOOK, by=("team",))

    assert before.sums == after.sums
    assert before.levels == after.levels
    assert {key: group.nanousd for key, group in before.groups.items()} == {
        key: group.nanousd for key, group in after.groups.items()
    }
    assert after.provisional_since is None
    assert after.sums["busy_nanousd"] == sums(engine)["shares_nanousd"]
    engine.dispose()


def test_calls_that_came_late_are_told_as_they_will_be(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with writing(engine).begin() as connection:
        open_books(connection, POOL, MORNING)
    ship(engine, call(0, 20))
    finish(engine, MORNING + 3 * MINUTE_US)
    ship(engine, call(10, 70), call(15, 40, team="b"), call(130, 190))
    end = MORNING + 4 * MINUTE_US
    before = capacity_report(engine, ROW, None, end, now=end, book=BOOK, by=("team",))
    finish(engine, end)
    after = capacity_report(engine, ROW, None, end, now=end, book=BOOK, by=("team",))

    assert before.sums == after.sums
    assert after.sums["requests"] == 4
    assert after.sums["unobserved_us"] == after.sums["time_us"] - after.sums["busy_us"]  # nobody has said that he lived
    assert before.groups.keys() == after.groups.keys()
    assert [group.nanousd for group in before.groups.values()] == [group.nanousd for group in after.groups.values()]
    engine.dispose()


def test_a_call_with_a_long_context_is_compared_at_the_price_of_that(tmp_path: Path) -> None:
    """Each call at what the book says of it alone: short ones, at a tier's border, beyond it, mostly out of the cache."""
    models = ["google/gemini-2.5-pro", "anthropic/claude-haiku-5.5", "openai/gpt-5-mini"]
    usages = [
        {"input": 900, "cache_read": 0, "output": 40}, {"input": 100_000, "cache_read": 0, "output": 7},
        {"input": 100_001, "cache_read": 0, "output": 7}, {"input": 1, "cache_read": 200_000, "output": 900},
        {"input": 150_000, "cache_read": 50_000, "output": 30}, {"input": 500_000, "cache_read": 1000, "output": 3000},
    ]  # fmt: skip
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    with writing(engine).begin() as connection:
        open_books(connection, POOL, MORNING)
    ship(engine, *(call(10 * n, 10 * n + 70, usage=usage) for n, usage in enumerate(usages)))
    row = replace(ROW, compare=models)
    end = MORNING + 5 * MINUTE_US
    alone = {
        name: sum(
            BOOK.cost(
                Reading(usage=dict(usage), source="provider"), provider=name.partition("/")[0],
                model=name.partition("/")[2], at_s=end // 1_000_000,
            ).cost_nanousd or 0
            for usage in usages
        )
        for name in models
    }  # fmt: skip

    def told() -> dict[str, int | None]:
        made = capacity_report(engine, row, None, end, now=end, book=BOOK)
        return {one.model: one.nanousd for one in made.compared}

    assert told() == alone  # nothing is closed yet
    prices = compared_prices(BOOK, models, end // 1_000_000)
    while close_minutes(engine, POOL, row.terms(), end, elsewhere=prices) is not None:
        pass
    assert told() == alone
    with engine.connect() as connection:
        books = read_books(connection, POOL)
    assert books is not None
    assert all(abs(books.totals["elsewhere"][name] - usd) <= 10 for name, usd in alone.items())  # rounded a minute
    engine.dispose()


def test_what_is_shown(engine: Engine) -> None:
    made = shown(engine, ("team",))

    parts = [Decimal(value) for value in (made.busy_usd, made.idle_usd, made.outside_usd)]
    assert sum(parts) == Decimal(made.cost_usd) == Decimal(20)
    tokens = sum(made.usage.values())
    use, whole = made.usd_per_million.use, made.usd_per_million.whole
    assert use.all is not None
    assert abs(Decimal(use.all) - Decimal(made.busy_usd) * 10**6 / tokens) < Decimal("1e-8")
    assert whole.all is not None
    assert Decimal(whole.all) > Decimal(use.all)
    known, unknown = made.compare
    assert (unknown.usd, unknown.break_even_ratio, unknown.cheaper) == (None, None, None)
    assert known.usd is not None
    assert made.break_even_ratio == known.break_even_ratio
    assert abs(known.break_even_ratio - float(made.busy_usd) / float(known.usd)) < 1e-9  # type: ignore[operator]
    assert known.cheaper == (Decimal(made.busy_usd) + Decimal(made.idle_usd) < Decimal(known.usd))
    assert made.joules is not None
    assert made.co2e_g == pytest.approx(made.joules / 3.6e6 * 100)
    assert (made.energy_source, made.weights.output, made.weights.measured) == ("estimated", 4.0, False)
    assert {group.model_dump()["team"] for group in made.groups} == {"a", "b", None}
    assert sum(Decimal(group.capacity_usd) for group in made.groups) == Decimal(made.busy_usd)
    assert [level.calls_at_once for level in made.levers.batching] == sorted(
        level.calls_at_once for level in made.levers.batching
    )
    assert (made.server, made.levers.speculative_decoding, made.levers.preemptions) == (None, None, None)


def test_energy_of_a_minute_that_is_unknown_makes_the_sum_unknown_and_never_0(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    simulate(engine, 10, minutes=5, instances=1)
    finish(engine, MORNING + 5 * MINUTE_US)
    with writing(engine).begin() as connection:
        first = sa.select(sa.func.min(capacity_minutes.c.minute_at)).scalar_subquery()
        connection.execute(
            sa.update(capacity_minutes).where(capacity_minutes.c.minute_at == first).values(busy_millijoules=None)
        )
    made = capacity_shown(capacity_report(engine, ROW, None, None, now=MORNING + 5 * MINUTE_US, book=BOOK))
    assert (made.joules, made.joules_per_token, made.co2e_g) == (None, None, None)
    engine.dispose()


def test_books_that_have_not_begun_are_empty(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    made = capacity_shown(capacity_report(engine, ROW, None, None, now=END, book=BOOK))
    assert (made.cost_usd, made.requests, made.busy_ratio, made.joules) == ("0", 0, None, None)
    engine.dispose()


def test_names_that_cannot_be_grouped_by_are_refused(engine: Engine) -> None:
    for by in (("nonsense",), ("team", "team"), ("label.x",)):
        with pytest.raises(BadQuestion):
            report(engine, by=by)


SAID = {  # what a server's counters came to in a minute, and what is shown of speculation and of the server
    "counted": (
        {"drafts": 10, "drafted": 30, "accepted": 21, "prefill_us": 250_000, "decode_us": 1_750_000, "steps": 12},
        (30, 21, 9, 0.7, 3.1), (0.25, 1.75, 12),
    ),
    "means alone": ({"accepted_ratio": 0.7, "tokens_per_step": 3.1}, (None, None, None, 0.7, 3.1), (None, None, None)),
    "no speculation": ({"accepted_ratio": 0.0, "tokens_per_step": 0.0, "steps": 4}, None, (None, None, 4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAID)
def test_what_the_servers_counters_say(tmp_path: Path, kind: str) -> None:
    said, speculation, server = SAID[kind]
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    sample = Increase(MORNING, MORNING + MINUTE_US, prompt=5, computed=5, output=7, **said)
    with writing(engine).begin() as connection:
        open_books(connection, POOL, MORNING)
        row = {"capacity": POOL, "minute_at": MORNING, "instance": "i", "samples": json.dumps([sample])}
        connection.execute(sa.insert(capacity_samples).values(**row))
    end = MORNING + MINUTE_US
    for closed in (False, True):
        if closed:
            assert close_minutes(engine, POOL, TERMS, end) is not None
        made = capacity_shown(capacity_report(engine, ROW, None, end, now=end, book=BOOK))
        told = made.levers.speculative_decoding
        assert (None if told is None else tuple(told.model_dump().values())) == speculation
        assert made.server is not None
        assert (made.server.prefill_s, made.server.decode_s, made.server.steps) == server
        assert (made.server.minutes, made.server.prompt_tokens, made.server.output_tokens) == (1, 5, 7)
    engine.dispose()


# The command


@pytest.fixture
def config(engine: Engine, tmp_path: Path) -> str:
    rows = [adapter(Capacity).dump_python(ROW, mode="json", by_alias=True, exclude_none=True)]
    rows.append({"name": "other", "upstreams": ["w"], "usd_per_hour": 1})
    upstreams = {name: {"base_url": "http://127.0.0.1:1/v1"} for name in ("gpu", "w")}
    file = tmp_path / "taximeter.yaml"
    file.write_text(json.dumps({"ledger": str(engine.url), "capacity": rows, "upstreams": upstreams}))
    return str(file)


def run(config: str, *arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments, "--config", config])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_one_capacity_as_json_is_what_the_api_says(config: str) -> None:
    until = "2026-11-23T01:00:00Z"
    made = json.loads(run(config, POOL, "--format", "json", "--until", until, "--by", "team"))

    assert made["name"] == POOL
    assert made["cost_usd"] == "10"
    assert {"use", "whole"} == made["usd_per_million"].keys()
    assert made["groups"][0].keys() == {"team", "requests", "usage", "capacity_usd", "usd_per_million", "joules"}


@pytest.mark.long
def test_tables_of_one_of_all_and_of_two_side_by_side(config: str) -> None:
    assert "break_even_ratio" in run(config, POOL, "--until", "2026-11-23T01:00:00Z")
    assert run(config, "--compare", POOL, "other").splitlines()[0].split() == [POOL, "other"]
    assert run(config, "--format", "csv").startswith("name,since,until")
    assert "capacity_usd" in run(config, POOL, "--by", "team", "--format", "csv", "--until", "2026-11-23T01:00:00Z")


def test_what_there_is_not_is_said(config: str) -> None:
    result = CliRunner().invoke(app, ["nobody", "--config", config])
    assert result.exit_code == 2
    assert "no capacity 'nobody'" in result.output + str(result.stderr)


@pytest.mark.parametrize("arguments", [("--compare", POOL, POOL), (POOL, "--compare", POOL, "other")])
def test_two_that_are_compared_are_two_and_alone(config: str, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*arguments, "--config", config])
    assert result.exit_code == 2
    assert "--compare takes two capacities" in result.output + str(result.stderr)


def test_books_that_ended_are_not_told_as_going_on(engine: Engine, tmp_path: Path) -> None:
    other = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    simulate(other, 10, minutes=5, instances=1)
    finish(other, MORNING + 5 * MINUTE_US)
    with writing(other).begin() as connection:
        connection.execute(sa.update(capacities).values(ended_at=MORNING + 5 * MINUTE_US))
    made = capacity_report(other, ROW, None, None, now=END, book=BOOK)
    assert made.sums["time_us"] == 5 * MINUTE_US
    other.dispose()
