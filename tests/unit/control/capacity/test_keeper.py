"""Who keeps the books: minutes close while calls come, servers are asked, and one that cannot be asked costs nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import socket
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.config.checks import build
from proxy.config.file import Expansion
from proxy.config.model import Config
from proxy.control.capacity import keeper as keeping
from proxy.control.capacity.asking import ask
from proxy.control.capacity.keeper import Keeper
from proxy.control.metrics.capacity import capacity_gauges
from proxy.control.metrics.series import MetricState
from proxy.control.state import ControlState
from proxy.ids import Ids
from proxy.ledger.audit.verify import verify
from proxy.ledger.capacity.books import read_books
from proxy.ledger.capacity.watch import EVER
from proxy.ledger.capacity_schema import capacities, capacity_minutes, capacity_watch
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.entries.entry import entry_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.recorder import Recorder
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import budget_spend, entries
from proxy.reports.spend import spend
from proxy.times import MINUTE_US
from tests.support.machines import MORNING
from tests.support.waiting import readable

COST = "capacity_cost_usd_total"


@dataclasses.dataclass
class Recorded:
    """A recorder that has everything."""

    complete_until: int = 0

    def has_runs(self) -> bool:
        return False


class Exporter:
    """A server that says what it is told to say."""

    def __init__(self) -> None:
        self.text: str | None = ""
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.keys.append(self.headers.get("authorization"))
                self.send_response(200 if outer.text is not None else 503)
                self.end_headers()
                self.wfile.write((outer.text or "").encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def counts(self, prompt: int, output: int, running: int = 1) -> None:
        self.text = (
            f'vllm:prompt_tokens_total{{engine="0"}} {prompt}\nvllm:generation_tokens_total{{engine="0"}} {output}\n'
            f'vllm:num_requests_running{{engine="0"}} {running}\n'
        )

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = MORNING
        monkeypatch.setattr(keeping, "now_us", lambda: self.now)
        monkeypatch.setattr("proxy.control.capacity.asking.now_us", lambda: self.now)


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter()
    yield made
    made.stop()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield made
    made.dispose()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def config(*rows: dict[str, Any]) -> Config:
    tree = {"upstreams": {"v": {"base_url": "http://127.0.0.1:1/v1"}}, "capacity": list(rows)}
    return build(Expansion(tree, [], []))[0]


def pool(**more: Any) -> dict[str, Any]:
    return {"name": "pool", "upstreams": ["v"], "usd_per_hour": 6, **more}


def make(engine: Engine, settings: Config, name: str = "i") -> tuple[Keeper, Recorded]:
    recorded = Recorded()
    return Keeper(engine, name, lambda: settings, recorded, Path(str(engine.url.database)).parent), recorded


def state_of(keeper: Keeper, settings: Config) -> ControlState:
    """As much of the control plane as the metrics of capacities ask."""
    return cast("ControlState", SimpleNamespace(keeper=keeper, config=lambda: settings, engine=keeper._engine))


def minutes(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(capacity_minutes).order_by(capacity_minutes.c.minute_at)))


def go_on(keeper: Keeper, recorded: Recorded, clock: Clock, seconds: int) -> None:
    for _ in range(0, seconds, 5):
        clock.now += 5_000_000
        recorded.complete_until = clock.now
        keeper.step()


def test_without_a_capacity_it_writes_nothing(engine: Engine, clock: Clock) -> None:
    keeper, _ = make(engine, config())
    keeper.step()
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(capacity_watch)).scalar() == 0


def test_minutes_close_as_time_goes_on_and_a_stop_leaves(engine: Engine, clock: Clock) -> None:
    keeper, recorded = make(engine, config(pool()))
    keeper.step()
    go_on(keeper, recorded, clock, 180)

    assert [row.idle_nanousd for row in minutes(engine)] == [100_000_000] * 3
    assert sum(row.unobserved_us for row in minutes(engine)) == 0
    keeper.start()
    keeper.stop()
    with engine.connect() as connection:
        assert connection.execute(sa.select(capacity_watch.c.complete_until)).scalar() == EVER


def test_what_the_server_did_for_others_is_outside(engine: Engine, clock: Clock, exporter: Exporter) -> None:
    keeper, recorded = make(engine, config(pool(metrics_url=exporter.url, metrics_key="secret")))
    exporter.counts(0, 0)
    keeper.step()
    for step in range(1, 25):
        exporter.counts(100 * min(step, 6), 10 * min(step, 6))
        go_on(keeper, recorded, clock, 5)

    first, second = minutes(engine)
    assert (first.outside_nanousd, first.idle_nanousd) == (50_000_000, 50_000_000)  # half of it: 30 s of 5 each
    assert (second.outside_nanousd, second.idle_nanousd) == (0, 100_000_000)
    assert set(exporter.keys) == {"Bearer secret"}
    assert keeper.problems() == {}


def test_a_server_that_cannot_be_asked_is_named_and_the_books_go_on(
    engine: Engine, clock: Clock, exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, recorded = make(engine, config(pool(metrics_url=exporter.url)))
    exporter.text = None
    keeper.step()
    go_on(keeper, recorded, clock, 125)

    assert len(minutes(engine)) == 2
    assert keeper.problems() == {"pool": "it does not answer (503)"}
    assert sum("does not answer" in record.message for record in caplog.records) == 1


def test_a_process_that_was_away_did_not_look(engine: Engine, clock: Clock) -> None:
    keeper, recorded = make(engine, config(pool()))
    keeper.step()
    go_on(keeper, recorded, clock, 60)
    clock.now += 10 * MINUTE_US
    recorded.complete_until = clock.now
    go_on(keeper, recorded, clock, 60)

    rows = minutes(engine)
    assert len(rows) == 12
    assert sum(row.time_us for row in rows) == 12 * MINUTE_US
    assert sum(row.unobserved_us for row in rows) == 10 * MINUTE_US + 5_000_000


def test_one_of_two_keeps_the_books(engine: Engine, clock: Clock) -> None:
    settings = config(pool())
    (first, recorded), (second, other) = make(engine, settings, "a"), make(engine, settings, "b")
    for _ in range(24):
        for keeper, seen in ((first, recorded), (second, other)):
            seen.complete_until = clock.now
            keeper.step()
        clock.now += 5_000_000
    assert (first.kept, second.kept) == (("pool",), ())
    other.complete_until = clock.now
    clock.now += 60_000_000
    go_on(second, other, clock, 60)  # the first is gone, and left nothing behind that was not in the ledger
    assert second.kept == ("pool",)
    assert len({row.minute_at for row in minutes(engine)}) == len(minutes(engine)) >= 2


@pytest.mark.long
def test_counters_of_a_cost_go_on_with_whoever_closes_and_add_up(engine: Engine, clock: Clock) -> None:
    """What the first has closed stays its own; the second's counters begin at nothing, and Prometheus adds them up."""
    settings = config(pool())
    keepers = [make(engine, settings, name) for name in "ab"]
    seen: list[list[Decimal]] = []

    def shown() -> list[Decimal]:
        return [
            sum(
                (Decimal(value) for name, _, value in capacity_gauges(state_of(keeper, settings)) if name == COST),
                Decimal(),
            )
            for keeper, _ in keepers
        ]

    for turn in (0, 0, 1, 1, 0):
        keeper, recorded = keepers[turn]
        clock.now += 20_000_000  # the other one has said nothing for so long
        go_on(keeper, recorded, clock, 120)
        seen.append(shown())
    assert seen[1][1] == 0
    for before, after in itertools.pairwise(seen):
        assert all(was <= now for was, now in zip(before, after, strict=True))
    assert seen[3][0] == seen[1][0] < seen[4][0]
    assert sum(seen[-1]) * 10**9 == sum(row.cost_nanousd for row in minutes(engine)) > 0


def test_sums_of_before_there_were_shares_are_whoevers_keeps_the_books(engine: Engine, clock: Clock) -> None:
    settings = config(pool())
    (first, recorded), (second, _) = make(engine, settings, "a"), make(engine, settings, "b")
    first.step()
    with writing(engine).begin() as connection:
        connection.execute(sa.update(capacities).values(totals='{"busy": 5, "idle": 7, "elsewhere": {"m": 3}}'))

    def shown(keeper: Keeper) -> dict[str, Decimal]:
        gauges = capacity_gauges(state_of(keeper, settings))
        return {labels.get("part", labels.get("model", "")): Decimal(value) for _, labels, value in gauges}

    assert shown(first)["busy"] * 10**9 == 5
    assert "m" not in shown(second)
    go_on(first, recorded, clock, 180)
    assert shown(first)["busy"] * 10**9 == 5
    assert shown(first)["idle"] * 10**9 > 7
    assert shown(first)["m"] * 10**9 == 3
    assert shown(second)["busy"] == 0


def test_books_end_with_the_configuration_and_go_on_when_it_is_back(engine: Engine, clock: Clock) -> None:
    settings = [config(pool())]
    recorded = Recorded()
    keeper = Keeper(engine, "i", lambda: settings[0], recorded, Path("unused"))
    keeper.step()
    go_on(keeper, recorded, clock, 120)
    settings[0] = config()
    go_on(keeper, recorded, clock, 600)
    settings[0] = config(pool())
    go_on(keeper, recorded, clock, 120)

    with engine.connect() as connection:
        books = read_books(connection, "pool")
    assert books is not None
    assert books.ended_at is None
    assert sum(row.time_us for row in minutes(engine)) < 5 * MINUTE_US


def test_a_failure_is_told_and_the_next_round_is_made(
    engine: Engine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper, recorded = make(engine, config(pool()))
    keeper.step()
    with engine.begin() as connection:
        connection.execute(sa.update(capacities).values(totals="no JSON"))
    clock.now += 2 * MINUTE_US
    recorded.complete_until = clock.now
    keeper._try(keeper.step)
    assert any("books of capacities" in record.message for record in caplog.records)


def test_answers_that_are_none(exporter: Exporter) -> None:
    exporter.text = "this is { no exposition"
    assert "not a Prometheus exposition" in ask(exporter.url).problem
    exporter.text = "up 1\n"
    assert "none of the counters" in ask(exporter.url).problem
    exporter.text = '[{"numActiveRequests": 0}]'
    assert "/prometheus/metrics" in ask(exporter.url).problem
    exporter.counts(1, 2)
    assert ask(exporter.url).reading is not None
    assert ask("http://127.0.0.1:1/metrics").problem.startswith("it does not answer")


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\nup 1\n", b"HTTP/1.0 200 OK\r\nx-", b""])
def test_who_answers_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """Each byte comes in time, and no end."""
    monkeypatch.setattr("proxy.control.capacity.asking._WHOLE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(head)
                while True:
                    connection.sendall(b"x")
                    if readable(connection.fileno(), 0.01) and not connection.recv(65536):
                        return

        thread = Thread(target=drip)
        thread.start()
        assert ask(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics").problem == "it does not answer in time"
        thread.join()


def test_an_answer_that_was_cut_off_is_not_read(exporter: Exporter) -> None:
    """`12` may have been to be `1200`, and what came behind it would be taken for new in the next reading."""
    exporter.text = 'vllm:prompt_tokens_total{engine="0"} 12'
    assert "not a Prometheus exposition" in ask(exporter.url).problem
    exporter.text += "\n# EOF"  # how OpenMetrics ends, which wants no line's end behind it
    assert ask(exporter.url).reading is not None


def test_a_share_becomes_the_price_where_it_is_to_be(engine: Engine, clock: Clock, tmp_path: Path) -> None:
    """A call of 30 seconds for $6 an hour, listed at 7 nano-dollars: it costs its half a minute, and so does its budget."""
    keeper, recorded = make(engine, config(pool(price="capacity")))
    keeper.step()
    started_at = clock.now + 5_000_000
    intent: Any = {
        "t": "intent", "id": Ids().new(started_at), "request_id": "r", "attempt": 1, "started_at": started_at,
        "upstream": "v", "team": "a", "root_session_id": "s", "reserved_nanousd": 9,
    }  # fmt: skip
    end: Any = {
        "t": "settle", "ended_at": started_at + 30_000_000, "status": "settled", "outcome": "ok", "usage": {"output": 10},
        "cost_nanousd": 7, "cost_source": "computed", "usage_source": "provider", "budgets": [["b", "", 0, "usd", 7]],
        "cost_lines": [{"unit": "output", "quantity": "10", "price_usd": "0.0007", "per": 1_000_000, "cost_usd": "0.000000007"}],
    }  # fmt: skip
    shipper = Shipper(engine, "i", MetricState.load(engine, "i"), lambda: {"v": "pool"})
    shipper.ship(Batch(entries=[entry_of(intent, end, "i")]), Positions([], []))
    go_on(keeper, recorded, clock, 120)
    recorder = Recorder(engine, tmp_path / "spool", instance="i", metrics=MetricState.load(engine, "i"))
    while recorder.step():
        pass
    go_on(keeper, recorded, clock, 60)
    while recorder.step():
        pass

    with engine.connect() as connection:
        rows = connection.execute(sa.select(entries).order_by(entries.c.kind)).mappings().all()
        spent = connection.execute(sa.select(budget_spend.c.amount)).scalars().all()
    attempt, correction = rows
    assert attempt["capacity_nanousd"] == 50_000_000
    assert (correction["kind"], correction["cost_nanousd"], correction["capacity_nanousd"]) == (
        "correction",
        49_999_993,
        None,
    )
    assert list(spent) == [50_000_000]
    (total,) = spend(engine, [], None, None)
    assert (total.cost_nanousd, total.capacity_nanousd, total.requests) == (50_000_000, 50_000_000, 1)
    report = verify(str(engine.url), tmp_path)
    assert report.difference is None
