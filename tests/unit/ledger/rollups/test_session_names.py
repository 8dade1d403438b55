"""Under which key a session is added up: its name or a digest of it, and whatever it is, reports and the audit say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ids import Ids, are_ids, first_id, is_id
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.rollup_schema import session_names, spend_sessions
from proxy.ledger.rollups import writing as rolling
from proxy.ledger.rollups.session_keys import note_keys
from proxy.ledger.rollups.sums import digest, session_group
from proxy.reports.one_session import recalled
from proxy.reports.sessions import sessions
from proxy.reports.spend import spend
from tests.support.made_up import HOUR_US, START, fill, made_up

BORDER = START + 20 * HOUR_US


def begun_at(url: str, since_at: int | None) -> Engine:
    """A ledger in which sessions have their names for a key from then on."""
    engine = open_ledger(url)
    with engine.begin() as connection:
        connection.execute(sa.delete(session_names))
        if since_at is not None:
            connection.execute(sa.insert(session_names).values(id=1, since_at=since_at))
    return engine


def keys_of(engine: Engine) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for name, key in connection.execute(sa.select(spend_sessions.c.session, spend_sessions.c.group)):
            found.setdefault(name, []).append(key)
    return found


def test_a_new_ledger_puts_sessions_under_their_names(empty_database: str) -> None:
    engine = open_ledger(empty_database)
    fill(engine, made_up(200))
    keys = keys_of(engine)
    assert keys == {name: [name if is_id(name) else digest((name,))] for name in keys}
    assert {is_id(name) for name in keys} == {True, False}
    engine.dispose()


def test_an_older_ledger_does_so_from_a_time_on(empty_database: str) -> None:
    engine = begun_at(empty_database, BORDER)
    fill(engine, made_up(200))
    keys = keys_of(engine)
    named = {name for name, [key] in keys.items() if name == key}
    hours = {name: int(name.rpartition("-")[2]) for name in keys if is_id(name)}  # after START
    assert named == {name for name, hour in hours.items() if hour >= 20}
    assert named < hours.keys()
    engine.dispose()


@pytest.mark.parametrize("since_at", [0, BORDER, None])
def test_reports_and_the_audit_say_the_same_under_any_key(
    empty_database: str, tmp_path: Path, since_at: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an instance of the version before puts calls of the same sessions under their digests."""
    engine, made = begun_at(empty_database, since_at), made_up(300)
    fill(engine, made[::2], instance="one")
    with monkeypatch.context() as before:
        before.setattr(rolling, "named_from", lambda connection: None)
        fill(engine, made[1::2], instance="of the version before")
    twice = {name for name, keys in keys_of(engine).items() if len(keys) == 2}
    assert bool(twice) == (since_at is not None)
    for span in ((None, None), (BORDER - 15 * HOUR_US, BORDER + 20 * HOUR_US), (BORDER + 1, None), (None, BORDER)):
        assert spend(engine, ["session"], *span) == spend(engine, ["session"], *span, rolled=False)
    cost = {row.group["session"]: row.cost_nanousd for row in spend(engine, ["session"], None, None, rolled=False)}
    for name in sorted(cost, key=str)[::4]:
        [known] = recalled(engine, [name or ""])
        assert known["tree_nanousd"] == cost[name]
    of_model = spend(engine, ["session", "model"], None, None, rolled=False)
    wanted = {row.group["session"] for row in of_model if row.group["model"] == "big"}
    shown = sessions(engine, limit=1000, having={"model": "big"}, lone_counts=True)
    assert {row.session for row in shown} == wanted
    engine.dispose()
    assert verify(empty_database, tmp_path).difference is None


@pytest.mark.parametrize("since_at", [0, BORDER])
def test_a_session_of_two_versions_is_one_after_the_next_look(
    empty_database: str, tmp_path: Path, since_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that the version before alone has written."""
    engine, made = begun_at(empty_database, since_at), made_up(300)
    with monkeypatch.context() as before:
        before.setattr(rolling, "named_from", lambda connection: None)
        fill(engine, made[1::2], instance="of the version before")
        with engine.begin() as connection:
            connection.execute(sa.update(spend_sessions).values(key=None, keyed=0))  # of which it knows nothing
    alone = keys_of(engine).keys()
    fill(engine, made[::2], instance="one")
    twice = {name for name, keys in keys_of(engine).items() if len(keys) == 2}
    assert twice
    assert {name for name in alone - twice if is_id(name or "") and session_group(name, first_id(since_at)) == name}
    for _ in range(2):
        assert not note_keys(engine)

    assert keys_of(engine) == {name: [session_group(name, first_id(since_at))] for name in keys_of(engine)}
    shown = sessions(engine, limit=1000, lone_counts=True)
    in_entries = spend(engine, ["session"], None, None, rolled=False)
    assert sorted((str(row.session), row.requests, row.cost_nanousd) for row in shown) == sorted(
        (str(row.group["session"]), row.requests, row.cost_nanousd) for row in in_entries
    )
    assert spend(engine, ["session"], None, None) == in_entries
    with engine.connect() as connection:
        assert connection.execute(sa.select(spend_sessions).where(spend_sessions.c.key.is_(None))).all() == []
    engine.dispose()
    assert verify(empty_database, tmp_path).difference is None


@pytest.mark.parametrize("at", range(36))
@pytest.mark.parametrize("char", ["", "-", "0", "7", "f", "g", "A", "é", "00"])
def test_many_ids_are_told_as_each_by_itself(at: int, char: str) -> None:
    made = Ids()
    names = [made.new(1796034567688336 + number) for number in range(3)]
    assert are_ids(names)
    names[1] = names[1][:at] + char + names[1][at + 1 :]
    assert are_ids(names) == all(map(is_id, names))
