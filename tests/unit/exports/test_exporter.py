"""Exports: everything at least once, in spite of whatever a receiver answers; and what is sent twice has the same id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.config.exports import Export
from proxy.config.reading import read_section
from proxy.exports import running
from proxy.exports.exporter import Exporter
from proxy.exports.sink import Event, Later, Sink
from proxy.exports.sinks import make_sink
from proxy.exports.status import sinks_shown
from proxy.ledger.audit.verify import verify
from proxy.ledger.beside.export_log import NotKept, ask_again, keep, take_place
from proxy.ledger.export_schema import export_log, export_set_aside
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.schema import entries
from proxy.times import DAY_US, now_us
from tests.support.export_receiver import KEY
from tests.support.exported import INSTANCE, Told, drain, exporter, ids, receiver, sorted_ids
from tests.support.made_up import START, fill, made_up
from tests.support.waiting import wait_until


def row(told: Told, **changes: Any) -> dict[str, Any]:
    return {"name": "meter", "type": "cloudevents", "url": f"{told.url}/api/v1/events", "api_key": KEY} | changes


def status(engine: Engine) -> dict[str, Any]:
    (shown,) = sinks_shown(engine, {"meter": "cloudevents"}, now_us())
    return shown


def test_what_comes_after_a_sink_is_exported_once_corrections_among_it(engine: Engine, told: Told) -> None:
    fill(engine, made_up(50))
    one = exporter(engine, row(told))
    made = made_up(550, seed=2)
    fill(engine, made, instance="second")
    drain(one)
    events = told.taken()
    second = sorted(entry.row.id for entry in made if entry.row.status != "void")
    assert sorted_ids(events) == second  # and not what was there before it
    kinds = {event["data"]["kind"] for event in events}
    assert kinds == {"attempt", "correction"}
    shown = status(engine)
    assert (shown["sent"], shown["lag_entries"], shown["set_aside"], shown["state"]) == (len(second), 0, 0, "ok")
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(export_log)).scalar() == 0


def test_a_sink_with_since_gets_what_was_there_before(engine: Engine, told: Told) -> None:
    fill(engine, made_up(550))
    since = START + DAY_US
    one = exporter(engine, row(told), since)
    second = made_up(10, seed=2)
    fill(engine, second, instance="second")
    drain(one)
    late = {entry.row.id for entry in second if entry.row.status != "void"}
    assert sorted_ids(told.taken()) == sorted({*ids(engine, entries.c.started_at >= since), *late})
    assert status(engine)["history_at"] is None


@pytest.mark.parametrize("answer", [429, 500, 503, 401, 404])
def test_what_is_not_taken_now_is_taken_later_with_the_same_ids(engine: Engine, told: Told, answer: int) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(60))
    told.plan({"status": answer, "headers": {"retry_after": "7"}, "taken": True})
    with pytest.raises(Later) as later:
        one.step()
    assert later.value.after_s == 7
    assert status(engine)["lag_entries"] == len(ids(engine))
    drain(one)
    assert sorted({event["id"] for event in told.taken()}) == ids(engine)
    assert len(told.taken()) == 2 * len(ids(engine))


def test_a_receiver_that_is_away_costs_lag_alone(engine: Engine, tmp_path: Path) -> None:
    with receiver(tmp_path) as gone:
        pass
    one = exporter(engine, row(gone))
    fill(engine, made_up(30))
    with pytest.raises(Later, match="cannot be reached"):
        one.step()
    assert status(engine)["lag_entries"] == len(ids(engine))
    assert status(engine)["lag_seconds"] >= 0


def test_what_is_refused_for_good_is_set_aside_by_name_and_holds_up_nothing(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(120))
    told.plan(refuse="globex")
    drain(one)
    refused = ids(engine, entries.c.customer == "globex")
    assert refused
    assert sorted_ids(told.taken()) == sorted(set(ids(engine)) - set(refused))
    with engine.connect() as connection:
        aside = connection.execute(sa.select(export_set_aside)).mappings().all()
    assert sorted(each["event_id"] for each in aside) == refused
    assert "globex is refused" in aside[0]["reason"]
    assert status(engine)["set_aside"] == len(refused)

    told.plan()
    assert ask_again(engine, "meter") == len(refused)
    drain(one)
    assert sorted_ids(told.taken()) == ids(engine)
    assert status(engine)["set_aside"] == 0


def test_what_is_refused_again_stays_aside(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(50))
    told.plan(refuse="globex")
    drain(one)
    ask_again(engine, "meter")
    drain(one)
    assert status(engine)["set_aside"] == len(ids(engine, entries.c.customer == "globex"))


def test_one_instance_exports_and_another_takes_over(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(20))
    now = now_us()
    assert not keep(engine, "meter", "other", now, now + 1_000_000)
    assert keep(engine, "meter", "other", now + 7_200_000_000, now + 7_300_000_000)
    with pytest.raises(NotKept):
        one.step()
    assert status(engine)["lag_entries"] == len(ids(engine))


def test_who_kept_a_sink_before_takes_nothing_back(engine: Engine, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen while it sent: another has got further since, and stopped, and it is this one's again."""
    one, hour = exporter(engine, row(told)), 3_600_000_000
    fill(engine, made_up(20))
    other = Exporter(engine, "other", "meter", make_sink(read_section(Export, row(told)), engine))
    send, places = one._sink.send, []

    def frozen(events: Sequence[Event]) -> Mapping[str, str]:
        answer = send(events)
        assert keep(engine, "meter", "other", now_us() + 2 * hour, now_us() + 3 * hour)
        fill(engine, made_up(30, seed=2), instance="second")
        drain(other)
        assert keep(engine, "meter", INSTANCE, now_us() + 4 * hour, now_us() + 5 * hour)
        places.append(status(engine))
        return answer

    monkeypatch.setattr(one._sink, "send", frozen)
    with pytest.raises(NotKept):
        one.step()
    monkeypatch.undo()
    assert [status(engine)] == places
    drain(one)
    assert (status(engine)["sent"], status(engine)["lag_entries"]) == (len(ids(engine)), 0)


def test_nothing_is_logged_where_nothing_is_exported_and_all_sinks_hold_it(engine: Engine, told: Told) -> None:
    fill(engine, made_up(20))
    with engine.connect() as connection:
        assert connection.execute(sa.select(export_log)).first() is None
    one = exporter(engine, row(told))
    take_place(engine, "slow", "file", None, now_us())
    fill(engine, made_up(20, seed=2), instance="second")
    drain(one)
    with engine.connect() as connection:
        kept = connection.execute(sa.select(sa.func.count()).select_from(export_log)).scalar()
    assert kept == len(told.taken())


def test_retention_waits_for_every_sink(engine: Engine, told: Told, tmp_path: Path) -> None:
    one = exporter(engine, row(told))
    fill(engine, made_up(40))
    much_later = START + 100 * DAY_US
    while delete_some(engine, 10, much_later):
        pass
    waiting = ids(engine)
    assert waiting
    assert verify(engine.url.render_as_string(hide_password=False), tmp_path).difference is None
    drain(one)
    assert sorted_ids(told.taken()) == waiting
    while delete_some(engine, 10, much_later):
        pass
    assert ids(engine) == []


def test_retention_waits_for_what_a_sink_gets_of_the_time_before_it(engine: Engine, told: Told) -> None:
    fill(engine, made_up(550, hours=48))
    since, much_later = START + DAY_US, START + 100 * DAY_US
    wanted = ids(engine, entries.c.started_at >= since)
    one = exporter(engine, row(told), since)
    while delete_some(engine, 10, much_later):
        pass
    assert ids(engine) == wanted  # and what it does not want is gone
    drain(one)
    assert sorted_ids(told.taken()) == wanted
    while delete_some(engine, 10, much_later):
        pass
    assert ids(engine) == []


def test_a_jobs_entry_is_exported_when_it_ends(engine: Engine, told: Told) -> None:
    one = exporter(engine, row(told))
    (entry,) = made_up(1, seed=5)
    fill(engine, [entry.with_row(entry.row._replace(status="running", cost_nanousd=None))])
    drain(one)
    assert told.taken() == []


def test_a_sink_that_cannot_begin_holds_up_no_other(
    sqlite: Engine, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(which: Export, engine: Engine) -> Sink:
        if which.key == "broken":
            raise ValueError(which.key)
        return make_sink(which, engine)

    monkeypatch.setattr(running, "make_sink", made)
    rows = [read_section(Export, row(told, name=name)) for name in ("broken", "meter")]
    exports = running.Exports(sqlite, "i", lambda: rows)
    exports.start()
    try:
        wait_until("it is kept", lambda: _kept(sqlite), 10)
        fill(sqlite, made_up(20))
        wait_until("the other exports", lambda: len(told.taken()) == len(ids(sqlite)), 20)
    finally:
        exports.stop()
    assert sorted_ids(told.taken()) == ids(sqlite)


def _kept(engine: Engine) -> bool:
    shown = sinks_shown(engine, {"broken": "cloudevents", "meter": "cloudevents"}, now_us())
    return [row["instance"] for row in shown] == ["i", "i"]
