"""Lists of somebody's or of rare calls, and of sessions: whatever is known of where they are, they are what all entries say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from proxy.ids import Ids, began_at
from proxy.ledger.database import open_ledger
from proxy.ledger.parts_schema import TOO_MANY, label_parts, rare_calls
from proxy.ledger.parts_schema import person_calls as table
from proxy.ledger.recording.retention import delete_some
from proxy.ledger.rollups import call_runs, listed_calls
from proxy.ledger.rollups import label_parts as label_parts_module
from proxy.ledger.rollups.call_runs import runs_of_calls
from proxy.ledger.rollups.label_parts import add_up_a_part
from proxy.ledger.rollups.sums import PART_US
from proxy.ledger.schema import entries
from proxy.reports import call_lists
from proxy.reports import calls as calls_module
from proxy.reports import sessions as lists
from proxy.reports.calls import requests
from proxy.times import DAY_US, HOUR_US
from tests.support.bought import bought, with_row
from tests.support.examples import examples
from tests.support.made_up import START, fill, made_up

_ids = Ids()
LATER = START + 60 * DAY_US
moments = st.one_of(
    st.none(),
    st.integers(-2, 16).map(lambda day: START + day * DAY_US),
    st.integers(-9 * HOUR_US, 320 * HOUR_US).map(lambda at: START + at),
)


def add_up(engine: Engine, now_us: int = LATER) -> int:
    count = 0
    while add_up_a_part(engine, ["plan"], now_us):
        count += 1
    return count


def values_of(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(sa.select(entries.c.user, entries.c.customer).distinct()).all()
    known = {("user", row.user) for row in rows} | {("customer", row.customer) for row in rows}
    return [*sorted(pair for pair in known if pair[1]), ("customer", "nobody")]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """300 hours, some of them void; a third came later than their three hours were added up, of some days that was done again."""
    engine, chance = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/l.db"), random.Random(4)
    made = made_up(600, hours=300)
    for number, entry in enumerate(made):
        if (
            entry.row.kind == "attempt"
            and entry.row.outcome == "ok"
            and not entry.end.get("job")
            and chance.random() < 0.1
        ):
            made[number] = with_row(entry, status="void")
    # Some waited for their budgets from before the end of three hours until behind it.
    for number in range(60):
        late = START + (number + 1) * PART_US - 200_000_000
        waited = bought(late, "0.001", {"input": 10}, id=_ids.new(late + 400_000_000), customer="acme", key="empty")
        made += [waited, bought(late + 250_000_000, "0.001", {"input": 10}, customer="acme", key="empty")]
    chance.shuffle(made)
    fill(engine, made[:500])
    assert add_up(engine) > 50
    fill(engine, made[500:])
    for _ in range(20):
        assert add_up_a_part(engine, ["plan"], LATER)
    yield engine
    engine.dispose()


def listed(
    engine: Engine, filters: dict[str, str | None], since: int | None, until: int | None, size: int
) -> list[str]:
    """All pages."""
    ids: list[str] = []
    before: str | None = None
    while True:
        page = call_lists.call_page(engine, limit=size, before=before, filters=filters, since=since, until=until)
        ids += [row["id"] for row in page.rows]
        if (before := page.next) is None:
            return ids


RARE = {
    "key": ["checkout", "empty", "none such"],
    "team": ["research", "", None],
    "model": ["odd", "none such"],
    "provider": ["p", None],
    "agent": ["coder", None],
    "status": ["void", "unconfirmed", "running"],
    "outcome": ["expired", "ok", "cut"],
    "usage_source": ["none", "provider"],
    "client": ["none such"],
    "label.plan": ["pro", None],
    "label.other": ["x", None],
    "customer": ["acme", "nobody"],
    "priced": ["no", "yes"],
}


@pytest.mark.long
@examples(25)
@given(data=st.data(), since=moments, until=moments, size=st.sampled_from([4, 50]), most=st.sampled_from([30, 100_000]))
def test_calls_of_any_filters_are_those_of_all_entries(
    filled: Engine, data: st.DataObject, since: int | None, until: int | None, size: int, most: int
) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(RARE)), min_size=1, max_size=3, unique=True))
    filters: dict[str, str | None] = {name: data.draw(st.sampled_from(RARE[name])) for name in names}
    every = requests(filled, limit=10_000, before=None, filters=filters, since=since, until=until)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_lists, "LOOKED_THROUGH", most)
        patch.setattr(call_runs, "_AT_ONCE_US", DAY_US)
        assert listed(filled, filters, since, until, size) == [row["id"] for row in every]


def ids_of(engine: Engine, name: str, value: str, since: int | None, until: int | None) -> list[str]:
    with engine.connect() as connection:
        query = sa.select(entries.c.id).where(entries.c[name] == value).order_by(entries.c.id.desc())
        query = query.where(entries.c.started_at >= (-1 if since is None else since))
        query = query.where(entries.c.started_at < (1 << 60 if until is None else until))
        return list(connection.execute(query).scalars())


@pytest.mark.long
@examples(15)
@given(data=st.data(), since=moments, until=moments, size=st.sampled_from([4, 50]))
def test_calls_are_those_of_all_entries(
    filled: Engine, data: st.DataObject, since: int | None, until: int | None, size: int
) -> None:
    name, value = data.draw(st.sampled_from(values_of(filled)))

    assert listed(filled, {name: value}, since, until, size) == ids_of(filled, name, value, since, until)


@examples(12)
@given(data=st.data(), since=moments, until=moments, order=st.sampled_from(["latest", "cost", "calls"]))
def test_sessions_are_those_that_going_through_all_finds(
    filled: Engine, data: st.DataObject, since: int | None, until: int | None, order: Any
) -> None:
    having = dict([data.draw(st.sampled_from(values_of(filled)))])
    size = data.draw(st.sampled_from([2, 50]))

    def all_pages() -> list[lists.SessionRow]:
        rows: list[lists.SessionRow] = []
        for _ in range(5):
            after = lists.place_of(rows[-1], order) if rows else None
            span = {"since": since, "until": until}
            page = lists.sessions(filled, limit=size, order=order, after=after, having=having, **span)
            rows += page
            if len(page) < size:
                break
        return rows

    known = all_pages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "_sessions_of_rare_calls", lambda *_: None)
        assert known == all_pages()


def calls(at: int, count: int = 1, **row: Any) -> list[Any]:
    return [bought(at + 1000 * number, "0.001", {"input": 10}, **row) for number in range(count)]


@pytest.fixture
def ledger(database: str) -> Iterator[Engine]:
    """Calls of two customers in the first and the fourth three hours, added up."""
    engine = open_ledger(database)
    for at in (START, START + 3 * PART_US):
        fill(engine, calls(at, 2, customer="acme") + calls(at + 10_000, 3, customer="globex"))
    assert add_up(engine) == 2
    yield engine
    engine.dispose()


def asked(engine: Engine, filters: Any = None, **given: Any) -> list[tuple[int, int | None]]:
    """Of which times the entries are read."""
    with engine.connect() as connection:
        runs = list(runs_of_calls(connection, filters or {"customer": "acme"}, START, START + 4 * PART_US, **given))
    return [
        ((run.since - START) // PART_US, run.until and (run.until - START) // PART_US)
        for run in runs
        if run.ids is None
    ]


def test_only_what_is_not_known_is_read_from_the_entries(ledger: Engine) -> None:
    assert asked(ledger) == [(1, 3)]  # where no call is counted there may be a void one
    assert asked(ledger, counted_alone=True) == []
    assert asked(ledger, {"customer": "nobody"}, counted_alone=True) == []
    assert len(listed(ledger, {"customer": "acme"}, None, None, 50)) == 4


@pytest.mark.parametrize("status", ["settled", "void", "running"])
def test_what_comes_late_is_there(ledger: Engine, status: str) -> None:
    (late,) = calls(START + HOUR_US, customer="acme")
    fill(ledger, [with_row(late, status=status)])

    assert asked(ledger) == [(0, 3)]
    assert len(listed(ledger, {"customer": "acme"}, None, None, 2)) == 5
    assert add_up(ledger) == 1
    assert asked(ledger) == [(1, 3)]
    assert len(listed(ledger, {"customer": "acme"}, None, None, 2)) == 5


def test_what_an_earlier_version_beside_this_one_writes_is_there(ledger: Engine) -> None:
    """It counts no changes of three hours, but what the day comes to is another."""
    fill(ledger, calls(START + HOUR_US, customer="acme"))
    with ledger.begin() as connection:
        connection.execute(sa.update(label_parts).values(changes=label_parts.c.built))

    assert asked(ledger) == [(0, 3)]
    assert len(listed(ledger, {"customer": "acme"}, None, None, 50)) == 5


@pytest.mark.parametrize("column", ["persons", "listed"])
def test_what_an_earlier_version_added_up_gets_its_lists(ledger: Engine, column: str) -> None:
    filters = {"customer": "acme"} if column == "persons" else {"key": "app"}
    with ledger.begin() as connection:
        before = connection.execute(sa.select(label_parts)).all()
        connection.execute(sa.update(label_parts).values(**{column: None}))
        connection.execute(sa.delete(table if column == "persons" else rare_calls))

    assert asked(ledger, filters) == [(0, 4)]
    assert add_up(ledger) == 2
    assert asked(ledger, {"customer": "acme"}) == [(1, 3)]
    with ledger.connect() as connection:
        assert connection.execute(sa.select(label_parts)).all() == before


def test_what_none_and_what_few_of_the_calls_have_is_known(ledger: Engine) -> None:
    fill(ledger, calls(START + HOUR_US, 60, model="big") + calls(START + 2 * HOUR_US, model="tiny"))
    assert asked(ledger, {"model": "tiny"}) == [(0, 3)]
    assert add_up(ledger) == 1

    assert asked(ledger, {"model": "none such"}) == [(1, 3)]
    assert asked(ledger, {"model": "tiny"}) == [(1, 3)]
    assert asked(ledger, {"model": "big"}) == [(0, 3)]
    assert asked(ledger, {"model": "big", "label.plan": "x"}) == [(1, 3)]
    assert asked(ledger, {"label.other": "x"}) == [(0, 4)]
    assert asked(ledger, {"claimed.plan": "x"}) == [(0, 4)]
    assert len(listed(ledger, {"model": "tiny"}, None, None, 50)) == 1


def test_who_adds_up_meanwhile_is_not_put_back(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with ledger.begin() as connection:
        connection.execute(sa.update(label_parts).values(listed=None))
    whole = label_parts_module.lists_of_calls

    def meanwhile(*given: Any) -> Any:
        monkeypatch.undo()
        found = whole(*given)
        fill(ledger, calls(START + 3 * PART_US + HOUR_US, customer="acme", model="tiny"))
        assert add_up(ledger) == 2
        return found

    monkeypatch.setattr(label_parts_module, "lists_of_calls", meanwhile)
    assert add_up_a_part(ledger, ["plan"], LATER)

    assert len(listed(ledger, {"customer": "acme"}, None, None, 50)) == 5
    assert len(listed(ledger, {"model": "tiny"}, None, None, 50)) == 1


def test_of_too_many_calls_there_is_no_list(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed_calls, "_MOST_CALLS", 5)
    fill(ledger, calls(START + HOUR_US, customer="acme"))

    assert add_up(ledger) == 1
    assert add_up(ledger) == 0
    with ledger.connect() as connection:
        state = sa.select(label_parts.c.persons).where(label_parts.c.start_at == START)
        assert connection.execute(state).scalar() == TOO_MANY
    assert len(listed(ledger, {"customer": "acme"}, None, None, 50)) == 5


def test_a_page_looks_up_so_many_listed_calls_at_most(ledger: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ledger, calls(START + HOUR_US, 30, customer="acme"))
    assert add_up(ledger) == 1
    monkeypatch.setattr(call_lists, "LOOKED_THROUGH", 10)
    monkeypatch.setattr(calls_module, "_LOOK_UP", 4)
    ids = ids_of(ledger, "customer", "acme", None, None)
    nobodys: dict[str, str | None] = {"customer": "acme", "claimed.x": "none such"}

    page = call_lists.call_page(ledger, limit=3, before=None, filters=nobodys, since=None, until=None)

    assert (page.rows, page.back_to) == ([], began_at(page.next or ""))
    assert ids.index(page.next or "") < 10 + 4
    assert listed(ledger, nobodys, None, None, 3) == []
    assert listed(ledger, {"customer": "acme"}, None, None, 3) == ids


def test_two_with_one_number_are_told_apart(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (listed_calls, call_runs):
        monkeypatch.setattr(module, "value_of", lambda name, value: 1)
    engine = open_ledger(database)
    fill(
        engine, calls(START, 2, customer="acme", user="ann") + calls(START + 10_000, 3, customer="globex", user="acme")
    )
    assert add_up(engine) == 1

    assert len(listed(engine, {"customer": "acme"}, None, None, 50)) == 2
    assert len(listed(engine, {"user": "acme"}, None, None, 50)) == 3
    engine.dispose()


def test_lists_of_deleted_entries_go(ledger: Engine, tmp_path: Path) -> None:
    fill(ledger, calls(START + 9 * DAY_US, customer="acme"))
    add_up(ledger)
    while delete_some(ledger, 5, START + 10 * DAY_US):
        pass

    assert len(listed(ledger, {"customer": "acme"}, None, None, 50)) == 1
    assert len(lists.sessions(ledger, limit=50, having={"customer": "acme"})) == 1
    assert add_up(ledger) == 0
    with ledger.connect() as connection:
        assert connection.execute(sa.select(table.c.start_at).distinct()).scalars().all() == [START + 9 * DAY_US]
    assert len(listed(ledger, {"customer": "acme"}, None, None, 50)) == 1


def test_calls_that_name_none_and_those_that_name_an_empty_one_are_listed_together(database: str) -> None:
    """Of a team and of a label; among so many others that both are rare."""
    engine = open_ledger(database)
    none = [bought(START, "1", team=None, labels={}), bought(START, "1", team="", labels={"plan": ""})]
    fill(engine, [*none, *[bought(START + n, "1", labels={"plan": "pro"}) for n in range(1, 60)]])
    add_up(engine)

    for name in ("team", "label.plan"):
        assert set(listed(engine, {name: None}, None, None, 7)) == {entry.row.id for entry in none}
    engine.dispose()
