"""Sessions are measured once, when they have gone quiet: pure, and through a ledger whose recorder is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.control.metrics import series
from proxy.control.metrics.exposition import render
from proxy.control.metrics.quiet_sessions import MAX_OPEN, Call, Session, Sessions, call_of
from proxy.control.metrics.series import MetricState
from proxy.ids import Ids
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.entries.row import row_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper

IDS = Ids()
S = 1_000_000
START = 1_795_435_785 * S
NOTHING = Positions([], [])


def call(session: str, at_s: int, cost: int = 10, requests: int = 1) -> Call:
    return Call(session, "t", "codex", at_s * S, requests, cost)


def test_a_session_is_quiet_when_no_call_has_ended_for_so_long() -> None:
    sessions = Sessions(quiet_s=60)
    sessions.advance(0, (), [call("a", 100), call("b", 120), call("a", 130, cost=5)])
    assert sessions.quiet_at(179 * S) == []
    assert not sessions.any_quiet_at(179 * S)
    assert sessions.any_quiet_at(180 * S)
    assert sessions.quiet_at(180 * S) == [Session("b", "t", "codex", 120 * S, 1, 10)]
    assert [session.session_id for session in sessions.quiet_at(190 * S)] == ["b", "a"]
    assert sessions.quiet_at(190 * S)[1].cost_nanousd == 15
    sessions.advance(180 * S, sessions.quiet_at(180 * S), ())
    assert len(sessions) == 1


def test_a_correction_is_no_call_and_begins_no_session() -> None:
    sessions = Sessions(quiet_s=60)
    sessions.advance(0, (), [call("late", 100, requests=0), call("a", 100), call("a", 110, cost=-4, requests=0)])
    assert sessions.quiet_at(200 * S) == [Session("a", "t", "codex", 110 * S, 1, 6)]


def test_too_many_sessions_are_measured_early() -> None:
    sessions = Sessions(quiet_s=60)
    sessions.advance(0, (), [call(str(number), 100) for number in range(MAX_OPEN + 3)])
    early = sessions.quiet_at(101 * S)
    assert [session.session_id for session in early] == ["0", "1", "2"]
    sessions.advance(101 * S, early, ())
    assert len(sessions) == MAX_OPEN


def test_what_is_measured_is_left_out_of_a_new_start() -> None:
    """One fell silent before, one not, one was measured and went on."""
    calls = [call("gone", 100), call("on", 100), call("open", 190), call("open", 200), call("on", 250, cost=3)]
    sessions = Sessions(quiet_s=60, measured_until=150 * S)
    sessions.resume(calls)
    assert {s.session_id: (s.requests, s.cost_nanousd) for s in sessions.quiet_at(400 * S)} == {
        "open": (2, 20),
        "on": (1, 3),
    }


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"session_source": "none"}, False),
        ({"session_source": "none", "root_session_id": "parent"}, True),
        ({"root_session_id": None}, False),
        ({"status": "void"}, False),
    ],
)
def test_a_call_without_a_session_says_nothing_of_any(fields: dict[str, Any], counts: bool) -> None:
    row = {
        "root_session_id": "s",
        "session_id": "s",
        "session_source": "header",
        "status": "settled",
        "kind": "attempt",
    }
    row |= {"team": None, "client": None, "ended_at": 1, "cost_nanousd": None}
    assert (call_of(row_of(row | fields)) is not None) is counts


# Through the ledger


class Clock:
    now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(series, "now_us", made)
    return made


class Life:
    """A recorder's life on a ledger: its metrics are what the database has."""

    def __init__(self, url: str) -> None:
        self.engine = open_ledger(url)
        self.metrics = MetricState.load(self.engine, "i", session_quiet_s=60)
        self.shipper = Shipper(self.engine, "i", self.metrics)

    def ship(self, *entries: Entry) -> None:
        self.shipper.ship(Batch(entries=list(entries)), NOTHING)

    def measured(self) -> dict[str, str]:
        text = render(self.metrics, (), openmetrics=False)
        wanted = (
            "taximeter_session_cost_usd_sum",
            "taximeter_session_cost_usd_count",
            "taximeter_session_requests_sum",
        )
        return {
            line.partition("{")[0].removeprefix("taximeter_session_"): line.rpartition(" ")[2]
            for line in text.splitlines()
            if line.startswith(wanted)
        }


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def entry(session: str, at_s: int, cost: int = 1_000_000_000) -> Entry:
    at = START + at_s * S
    intent = {
        "id": IDS.new(at), "request_id": "r", "attempt": 1, "started_at": at - S, "operation": "chat", "upstream": "u",
        "provider": "p", "model": "m", "team": "t", "client": "codex", "session_id": session, "session_source": "header",
        "root_session_id": session,
    }  # fmt: skip
    end = {
        "t": "settle",
        "ended_at": at,
        "status": "settled",
        "outcome": "ok",
        "http_status": 200,
        "cost_nanousd": cost,
    }
    return entry_of(intent, end, "i")


def test_a_session_is_in_the_histograms_once_whatever_dies(url: str, clock: Clock) -> None:
    life = Life(url)
    life.ship(entry("s", 0), entry("s", 1))
    clock.now += 30 * S
    life = Life(url)  # killed and started again: the session is still going on
    assert len(life.metrics.sessions) == 1
    life.ship(entry("s", 30, cost=500_000_000))
    assert life.measured() == {}
    clock.now += 70 * S
    assert life.metrics.due()
    life.ship()
    assert life.measured() == {"cost_usd_sum": "2.5", "cost_usd_count": "1", "requests_sum": "3"}
    assert not life.metrics.due()
    clock.now += 10 * S
    life = Life(url)
    assert len(life.metrics.sessions) == 0
    life.ship()
    assert life.measured() == {"cost_usd_sum": "2.5", "cost_usd_count": "1", "requests_sum": "3"}


def test_many_sessions_go_on_in_the_order_in_which_they_fell_silent(
    url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "_NAMES_AT_ONCE", 2)
    life = Life(url)
    life.ship(*[entry(name, at_s) for at_s, name in enumerate("ecadbace")])
    clock.now += 30 * S
    before, life = life, Life(url)
    assert list(life.metrics.sessions._open.values()) == list(before.metrics.sessions._open.values())
    clock.now += 100 * S
    life.ship()
    assert life.measured() == {"cost_usd_sum": "8", "cost_usd_count": "5", "requests_sum": "8"}


def test_a_batch_that_is_not_committed_measures_nothing(url: str, clock: Clock) -> None:
    life = Life(url)
    life.ship(entry("s", 0))
    clock.now += 100 * S
    before = life.metrics.sessions.measured_until
    life.metrics.changed_by(life.metrics.observe())  # and no commit
    assert (len(life.metrics.sessions), life.metrics.sessions.measured_until) == (1, before)
    life.ship()
    assert life.measured()["cost_usd_count"] == "1"


def test_a_commit_whose_answer_is_lost_measures_once(url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life(url)
    life.ship(entry("s", 0))
    clock.now += 100 * S
    real = sa.engine.Transaction.__exit__
    lost = iter([True])

    def commit_without_answer(self: Any, kind: Any, value: Any, traceback: Any) -> Any:
        done = real(self, kind, value, traceback)
        if kind is None and isinstance(self, sa.engine.RootTransaction) and next(lost, False):
            raise sa.exc.OperationalError("COMMIT", {}, Exception("connection lost"))
        return done

    monkeypatch.setattr(sa.engine.Transaction, "__exit__", commit_without_answer)
    batch = Batch(entries=[entry("next", 100)])
    with pytest.raises(sa.exc.OperationalError):
        life.shipper.ship(batch, NOTHING)
    life.shipper.ship(batch, NOTHING)
    assert life.measured()["requests_sum"] == "1"
    clock.now += 100 * S
    life.ship()
    assert life.measured()["requests_sum"] == "2"


def test_a_session_that_fell_silent_while_nobody_was_there_is_measured_at_the_start(url: str, clock: Clock) -> None:
    Life(url).ship(entry("s", 0))
    clock.now += 86_400 * S
    life = Life(url)
    life.ship()
    assert life.measured()["requests_sum"] == "1"


def test_what_has_no_labels_is_there_from_the_start(url: str) -> None:
    """Prometheus sees no rise in a series that appears with its first value."""
    text = render(Life(url).metrics, (), openmetrics=True)
    assert "\ntaximeter_overrun_usd_total 0\n" in text
    assert "\ntaximeter_cost_corrections_usd 0\n" in text
    assert '\ntaximeter_reservation_error_usd_bucket{le="+Inf"} 0\n' in text


def test_a_label_that_came_later_is_empty_in_what_was_counted_before(url: str) -> None:
    life = Life(url)
    life.metrics.reload([("requests_total", '["p","m","chat","ok","t","codex"]', "3")])
    text = render(life.metrics, (), openmetrics=False)
    assert 'team="t",client="codex",upstream=""} 3' in text


def test_a_new_instance_on_a_large_ledger_does_not_look_for_its_calls_among_all(url: str, clock: Clock) -> None:
    life = Life(url)
    life.ship(entry("s", 0))
    asked: list[str] = []
    sa.event.listen(life.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    MetricState.load(life.engine, "another")
    read_by_the_new = [statement for statement in asked if "FROM entries" in statement]
    assert len(MetricState.load(life.engine, "i").sessions) == 1

    assert read_by_the_new == []
    assert any("FROM entries" in statement for statement in asked)
