"""Sessions as the ledger tells them: totals that are the sum of their entries, pages, spans, trees, and the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.sessions import app as command
from proxy.control.metrics.series import MetricState
from proxy.ids import Ids
from proxy.ledger.database import open_ledger
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.rollup_schema import spend_sessions
from proxy.ledger.schema import entries
from proxy.reports import one_session
from proxy.reports import sessions as session_queries
from proxy.reports.call_lists import call_page
from proxy.reports.spend import spend
from proxy.spool.writer import SpoolWriter
from proxy.times import BadQuestion
from tests.support.postgres import PostgresServer

AT = 1_795_435_785_000_000
SECOND = 1_000_000


class Book:
    """A ledger that is filled as a running proxy fills it: through the spool."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.engine: Engine = open_ledger(self.url)
        self.spool = folder / "spool"
        self.writer = SpoolWriter(self.spool, "w")
        self.ids = Ids()
        self.recorder = Recorder(self.engine, self.spool, instance="i", metrics=MetricState.load(self.engine, "i"))

    def call(
        self, session: str, at: int = 0, cost: int | None = 400, usage: Mapping[str, int] | None = None, **told: Any
    ) -> dict[str, Any]:
        """One call of a session, `at` seconds from the beginning, a second long."""
        started = AT + at * SECOND
        record: dict[str, Any] = {
            "t": "intent", "id": self.ids.new(started), "request_id": "r", "attempt": 1, "started_at": started,
            "dialect": "openai.chat", "operation": "chat", "stream": False, "upstream": "u", "provider": "p",
            "model_requested": "m", "model": "m", "key": "k", "team": "t", "session_id": session, "session_source": "taximeter",
            "root_session_id": session, "reserved_nanousd": 1000, "budgets": [], "client": "codex",
        } | told  # fmt: skip
        self.end(record, {
            "t": "settle", "ended_at": started + SECOND, "status": "settled", "outcome": "ok", "http_status": 200,
            "usage": {"input": 7, "output": 3} if usage is None else usage, "usage_source": "provider", "cost_nanousd": cost,
            "cost_source": "computed",
        })  # fmt: skip
        return record

    def end(self, intent: dict[str, Any], end: dict[str, Any]) -> None:
        self.writer.append(orjson.dumps(intent))
        self.writer.append(orjson.dumps(end | {"id": intent["id"]}))

    def ship(self) -> None:
        while self.recorder.step():
            pass

    def list(self, **question: Any) -> list[session_queries.SessionRow]:
        self.ship()
        return session_queries.sessions(self.engine, **{"limit": 50} | question)

    def names(self, **question: Any) -> list[str]:
        return [item.session for item in self.list(**question)]


@pytest.fixture
def book(database: str, tmp_path: Path) -> Iterator[Book]:
    made = Book(database, tmp_path)
    yield made
    made.writer.close()
    made.engine.dispose()


def test_totals_are_the_sum_of_the_entries(book: Book) -> None:
    book.call("a", 0)
    book.call("a", 5, cost=600, root_session_id="a")
    book.ship()
    book.call("b", 7, root_session_id="a", parent_session_id="a", cost=None)
    (item,) = book.list()
    assert (item.session, item.team) == ("a", "t")
    assert (item.requests, item.cost_nanousd, item.unpriced_requests) == (3, 1000, 1)
    assert item.usage == {"input": 21, "output": 9}
    assert (item.started_at, item.ended_at) == (AT, AT + 8 * SECOND)


@pytest.mark.needs("postgres")
def test_pages_hold_each_session_once_however_the_database_sorts(postgres: PostgresServer, tmp_path: Path) -> None:
    """As a server does that was made without a word on its locale."""
    with postgres.new_database("template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'") as url:
        book = Book(url, tmp_path)
        for name in ("a", "B", "c", "D", "e"):
            book.call(name)
        pages: list[session_queries.SessionRow] = []
        while page := book.list(
            limit=2, order="calls", after=session_queries.place_of(pages[-1], "calls") if pages else None
        ):
            pages += page
        book.writer.close()
        book.engine.dispose()

    assert [row.session for row in pages] == ["B", "D", "a", "c", "e"]


def test_a_void_attempt_counts_for_nothing_and_a_correction_for_its_cost(book: Book) -> None:
    void = book.call("a") | {"id": book.ids.new(AT)}
    book.end(void, {"t": "void", "ended_at": AT, "outcome": "upstream_unreachable"})
    slow = void | {"id": book.ids.new(AT)}
    book.end(slow, {"t": "expired", "at": AT})
    book.ship()
    settled = {
        "t": "settle",
        "ended_at": AT + 9,
        "status": "settled",
        "outcome": "ok",
        "cost_nanousd": 500,
        "usage": {"input": 1},
    }
    book.writer.append(orjson.dumps(settled | {"id": slow["id"]}))
    (item,) = book.list()
    assert (item.requests, item.cost_nanousd, item.usage) == (2, 900, {"input": 8, "output": 3})
    assert_sums_agree(book)


def assert_sums_agree(book: Book) -> None:
    total, row = spend_sessions.c, entries.c
    with book.engine.connect() as connection:
        told = connection.execute(
            sa.select(total.session, total.cost_nanousd, total.input_tokens).order_by(total.session)
        )
        summed = connection.execute(
            sa.select(row.root_session_id, sa.func.coalesce(sa.func.sum(row.cost_nanousd), 0), sa.func.sum(row.input_tokens))
            .where(row.status != "void").group_by(row.root_session_id).order_by(row.root_session_id)
        )  # fmt: skip
        assert told.all() == summed.all()


def test_records_that_no_database_takes_leave_the_sums_right(book: Book) -> None:
    book.call("a\x00b")
    book.call("huge", cost=2**62)
    book.call("x" * 100_000)
    book.call("fine", team="a\x00b")
    items = book.list()
    assert (len(items), sum(item.requests for item in items)) == (4, 4)
    with book.engine.connect() as connection:
        spent = connection.execute(sa.select(sa.func.sum(entries.c.cost_nanousd))).scalar_one()
    assert sum(item.cost_nanousd for item in items) == spent


def test_a_span_takes_the_sessions_with_a_call_in_it(book: Book) -> None:
    for session, at in (("early", 0), ("long", 1), ("long", 100), ("late", 90)):
        book.call(session, at)
    second = AT + SECOND
    assert book.names() == ["long", "late", "early"]
    assert book.names(since=second) == ["long", "late"]
    assert book.names(until=second) == ["early"]
    assert book.names(since=AT + 95 * SECOND) == ["long"]
    assert book.names(team="t", limit=1) == ["long"]
    assert book.names(team="other") == []


@pytest.mark.parametrize("length", [1, 86_399, 86_400, 86_401, 700_000])
def test_a_session_that_reaches_beyond_a_span_is_in_it_however_long_it_is(book: Book, length: int) -> None:
    """Those of a day and more are found in another way than those that are shorter."""
    for session, begun in (("a", 0), ("b", 300), ("c", 900_000)):
        book.call(session, begun)
        book.call(session, begun + length)

    for since in (None, 0, 1, length, length + 1, 300, 301, 300 + length, 301 + length):
        for until in (None, 1, 300, 301, length, length + 1, 300 + length, 301 + length, 2_000_000):
            low, high = (None if at is None else AT + at * SECOND for at in (since, until))
            wanted = {
                session: calls
                for session, begun in (("a", 0), ("b", 300), ("c", 900_000))
                if (calls := sum((since or 0) <= at < (until or 3_000_000) for at in (begun, begun + length)))
            }
            assert {row.session: row.requests for row in book.list(since=low, until=high)} == wanted
            assert {row.group["session"]: row.requests for row in spend(book.engine, ["session"], low, high)} == wanted


@pytest.mark.parametrize("operation", ["count_tokens", "responses.input_tokens"])
def test_a_count_of_tokens_by_itself_is_an_entry_and_no_run(book: Book, operation: str) -> None:
    book.call("run", 0)
    book.call("by-itself", 5, 0, {}, operation=operation, session_source="none")
    book.call("run", 6, 0, {}, operation=operation)
    book.call("named", 7, 0, {}, operation=operation)
    book.call("failed", 8, 0, {}, session_source="none")
    assert book.names() == ["failed", "named", "run"]
    assert book.names(order="cost")[0] == "run"
    assert "by-itself" not in book.names(since=AT + 5 * SECOND, until=AT + 7 * SECOND)
    assert sum(item.requests for item in book.list(lone_counts=True)) == 5
    assert [len(book.names(limit=2)), len(book.names(limit=2, order="calls"))] == [2, 2]


def test_the_dearest_first(book: Book) -> None:
    for number in (3, 1, 2):
        book.call(f"s{number}", number, cost=number * 100)
    assert book.names(order="cost") == ["s3", "s2", "s1"]


@pytest.mark.parametrize("order", ["latest", "cost"])
def test_pages_have_every_session_once(book: Book, order: str) -> None:
    for number in range(25):
        book.call(f"s{number}", number // 5, cost=number // 5 * 100)
    found: list[str] = []
    after = None
    while page := book.list(order=order, limit=4, after=after):
        found += [item.session for item in page]
        after = session_queries.place_of(page[-1], order)
    assert len(found) == len(set(found)) == 25
    assert found == book.names(order=order)


@pytest.mark.parametrize("after", ["", "x", ":s", "12", "1e5:s", "-:s", "9" * 30 + ":s"])
def test_a_place_that_is_none_is_said(book: Book, after: str) -> None:
    with pytest.raises(BadQuestion):
        book.list(after=after)


def run_with_agents(book: Book) -> None:
    book.call("main", 0, cost=1_000_000)
    book.call("main", 1, cost=2_000_000, agent="a1")
    book.call("main", 2, cost=4_000_000, agent="a2", parent_agent="a1")
    book.call("child", 3, cost=8_000_000, root_session_id="main", parent_session_id="main")


def test_one_session_is_a_tree_with_its_calls(book: Book) -> None:
    run_with_agents(book)
    book.ship()
    found = one_session.session(book.engine, "main")
    assert found is not None
    about, tree = found
    assert about._asdict() == {
        "team": "t",
        "key": "k",
        "client": "codex",
        "source": "taximeter",
        "root_session": "main",
    }
    assert [(depth, node.agent or node.session, node.cost_nanousd, len(node.calls)) for depth, node in tree.walk()] == [
        (0, "main", 15_000_000, 1),
        (1, "a1", 6_000_000, 1),
        (2, "a2", 4_000_000, 1),
        (1, "child", 8_000_000, 1),
    ]


def test_a_child_is_shown_by_itself_with_what_is_below_it(book: Book) -> None:
    run_with_agents(book)
    book.ship()
    found = one_session.session(book.engine, "child")
    assert found is not None
    assert (found[0].root_session, found[1].session, found[1].cost_nanousd) == ("main", "child", 8_000_000)
    assert one_session.session(book.engine, "nobody") is None


@pytest.mark.parametrize(("session", "in_it"), [("main", {"main", "child"}), ("child", {"child"}), ("nobody", set())])
def test_the_calls_of_a_session_are_its_trees_and_of_a_part_of_a_tree_its_own(
    book: Book, session: str, in_it: set[str]
) -> None:
    run_with_agents(book)
    book.ship()

    page = call_page(book.engine, limit=50, before=None, filters={"session": session}, since=None, until=None)

    assert {call["session_id"] for call in page.rows} == in_it


def test_the_calls_shown_are_limited_and_the_sums_are_not(book: Book) -> None:
    for number in range(10):
        book.call("s", number)
    book.ship()
    found = one_session.session(book.engine, "s", calls=3)
    assert found is not None
    assert (len(found[1].calls), found[1].requests) == (3, 10)


def test_where_a_session_stood_is_recalled(book: Book) -> None:
    run_with_agents(book)
    book.call("leaf", 4, cost=1, root_session_id="main", parent_session_id="child")
    book.call("orphan", 5, root_session_id="never called", parent_session_id="never called")
    book.ship()
    names = ["main", "main@t", "child", "leaf", "never called", "nobody"]
    found = {row.pop("name"): row for row in one_session.recalled(book.engine, names)}
    tree = {"team": "t", "key": "k", "root": "main", "tree_nanousd": 15_000_001}
    assert found == {
        "main": tree | {"parent": None, "depth": 1},
        "child": tree | {"parent": "main", "depth": 2},
        "leaf": tree | {"parent": "child", "depth": 3},
        "never called": {
            "team": "t",
            "key": "k",
            "root": "never called",
            "tree_nanousd": 400,
            "parent": None,
            "depth": 1,
        },
    }


# The command line


@pytest.fixture
def ask(book: Book, tmp_path: Path) -> Any:
    config = tmp_path / "c.yaml"
    config.write_text(
        json.dumps({
            "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "acme"}},
            "models": {"m": {"upstream": "up"}}, "ledger": book.url, "data_dir": str(tmp_path / "data"),
        })
    )  # fmt: skip
    run_with_agents(book)
    book.call("other", 90, team="blue", cost=5)
    book.ship()

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command, [*arguments, "--config", str(config)])

    return run


def test_top_lists_the_dearest(ask: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(ask("top", "--format", "csv").stdout)))
    assert [(row["session"], row["cost_usd"], row["requests"], row["tokens"], row["duration"]) for row in rows] == [
        ("main", "0.015", "4", "40", "4.0s"),
        ("other", "0.000000005", "1", "10", "1.0s"),
    ]
    assert [item["session"] for item in json.loads(ask("top", "--by", "latest", "--format", "json").stdout)] == [
        "other",
        "main",
    ]
    assert [item["session"] for item in json.loads(ask("top", "--team", "blue", "--format", "json").stdout)] == [
        "other"
    ]
    assert "0.015" in ask("top").stdout
    assert ask("top", "--by", "size").exit_code == 2
    assert ask("top", "--since", "soon").exit_code == 2


def test_show_draws_the_tree(ask: Any) -> None:
    lines = ask("show", "main").stdout.splitlines()
    assert lines[1].startswith("session main  $0.015  4 calls  40 tokens  4.0s")
    assert [line.strip("│├└─ ").split("  ")[:2] for line in lines[2:]] == [
        ["m", "$0.001"],
        ["agent a1", "$0.006"],
        ["m", "$0.002"],
        ["agent a2", "$0.004"],
        ["m", "$0.004"],
        ["session child", "$0.008"],
        ["m", "$0.008"],
    ]


def test_show_for_programs(ask: Any) -> None:
    told = json.loads(ask("show", "main", "--format", "json").stdout)
    assert (told["cost_usd"], told["own_cost_usd"], told["requests"], told["duration_s"]) == ("0.015", "0.001", 4, 4.0)
    assert [child["agent"] or child["session"] for child in told["children"]] == ["a1", "child"]
    assert told["calls"][0]["cost_usd"] == "0.001"
    rows = list(csv.DictReader(io.StringIO(ask("show", "main", "--format", "csv").stdout)))
    assert [(row["depth"], row["kind"]) for row in rows][:4] == [
        ("0", "session"),
        ("1", "call"),
        ("1", "agent"),
        ("2", "call"),
    ]
    assert ask("show", "nobody").exit_code == 1
