"""`entries` by months: made with the ledger, made in time, made of one table, and dropped as a whole."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.control.metrics.series import MetricState
from proxy.ids import Ids, correction_id, first_id
from proxy.ledger import partitions
from proxy.ledger.audit.verify import verify
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import entry_of
from proxy.ledger.export_schema import export_log
from proxy.ledger.partitions import NotDivided, divide, make_months
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.retention import delete_some, drop_months
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.ledger.schema import budget_retired, budget_spend, entries
from proxy.reports import calls
from proxy.reports.spend import spend
from proxy.times import DAY_US, now_us
from tests.support.made_up import fill, made_up
from tests.support.pgbouncer import pooled
from tests.support.postgres import PostgresServer
from tests.support.spooled import intent, settle

pytestmark = pytest.mark.needs("postgres")

NOW = now_us()
THIS = datetime.fromtimestamp(NOW / 1e6, UTC)


def start_of(months_ahead: int) -> int:
    number = THIS.year * 12 + THIS.month - 1 + months_ahead
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def name_of(months_ahead: int) -> str:
    return f"entries_{datetime.fromtimestamp(start_of(months_ahead) / 1e6, UTC):%Y_%m}"


@pytest.fixture
def engine(postgres: PostgresServer) -> Iterator[Engine]:
    with postgres.emptied_database() as url:
        made = open_ledger(url)
        yield made
        made.dispose()


@pytest.fixture
def either(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[Engine]:
    """The ledger itself, or behind PgBouncer: two sessions there, in turns, whatever transaction comes."""
    with postgres.emptied_database() as direct, contextlib.ExitStack() as stack:
        url = direct if request.param == "direct" else stack.enter_context(pooled(postgres, direct, sessions=2))
        made = open_ledger(url)
        yield made
        made.dispose()


EITHER = pytest.mark.parametrize(
    "either", ["direct", pytest.param("pooled", marks=pytest.mark.needs("pgbouncer"))], indirect=True
)


@pytest.fixture
def undivided(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A ledger as versions before this one made it."""
    for name, listener in (("before_create", partitions.by_months), ("after_create", partitions.first_months)):
        sa.event.remove(entries, name, listener)
    options = entries.dialect_options["postgresql"]
    by, options["partition_by"] = options["partition_by"], None
    with postgres.emptied_database() as url:
        made = open_ledger(url)
        sa.event.listen(entries, "before_create", partitions.by_months)
        sa.event.listen(entries, "after_create", partitions.first_months)
        options["partition_by"] = by
        yield made
        made.dispose()


LINE = {
    "unit": "input",
    "quantity": "7",
    "price_usd": "0.4",
    "per": 7_000_000,
    "cost_usd": "0.0000004",
    "source": "book",
}


def ship(engine: Engine, *started_at: int, **fields: Any) -> list[str]:
    """Calls that began then; their ids."""
    ids, made = Ids(), []
    for at in started_at:
        begun = intent(id=ids.new(at), started_at=at, request_id=ids.new(at))
        made.append(entry_of(begun, settle(begun, ended_at=at + 5, cost_lines=[LINE], **fields), "i"))
    fill(engine, made)
    return [entry.row.id for entry in made]


def where(engine: Engine) -> dict[str, int]:
    """How many entries lie in which table."""
    with engine.connect() as connection:
        query = "SELECT tableoid::regclass::text, count(*) FROM entries GROUP BY 1"
        return {row[0]: row[1] for row in connection.execute(sa.text(query))}


def audited(engine: Engine) -> object:
    with tempfile.TemporaryDirectory() as scratch:
        return verify(engine.url.render_as_string(hide_password=False), Path(scratch)).difference


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [each.name for each in partitions.partitions(connection)]


def test_each_entry_lies_in_its_month(engine: Engine) -> None:
    assert names(engine) == ["entries_before", name_of(0), name_of(1), name_of(2)]
    ship(engine, start_of(0) - 1, start_of(0), start_of(1) - 1, start_of(1), start_of(-30), start_of(3), start_of(40))
    assert where(engine) == {"entries_before": 2, name_of(0): 2, name_of(1): 1, "entries_other": 2}


def test_an_id_is_there_once_and_a_correction_lies_beside_it(engine: Engine) -> None:
    at = start_of(-1) + DAY_US
    made = ship(engine, at, status="unconfirmed")
    with engine.begin() as connection:
        moved = {"id": correction_id(made[0]), "kind": "correction"}
        columns = [column.name for column in entries.columns]
        values = [sa.literal(moved[name]) if name in moved else entries.c[name] for name in columns]
        connection.execute(sa.insert(entries).from_select(columns, sa.select(*values)))
    assert where(engine) == {"entries_before": 2}
    begun = intent(id=made[0], started_at=at)
    shipper = Shipper(engine, "other", MetricState.load(engine, "other"))
    assert shipper.ship(Batch(entries=[entry_of(begun, settle(begun, ended_at=at), "other")]), Positions([], [])) == []
    assert sum(where(engine).values()) == 2


@EITHER
def test_months_are_made_before_they_begin(either: Engine) -> None:
    assert make_months(either, NOW) == []
    assert make_months(either, start_of(1)) == [name_of(3)]
    assert make_months(either, start_of(1)) == []
    assert make_months(either, start_of(4)) == [name_of(4), name_of(5), name_of(6)]  # nobody looked for a while
    assert names(either)[-1] == name_of(6)


def test_a_clock_far_ahead_makes_no_thousands(engine: Engine) -> None:
    assert len(make_months(engine, start_of(900))) == 12


@EITHER
def test_what_came_before_its_months_table_moves_there(either: Engine) -> None:
    ship(either, start_of(3), start_of(3) + DAY_US, start_of(5))
    assert where(either) == {"entries_other": 3}
    make_months(either, start_of(2))
    assert where(either) == {"entries_other": 1, name_of(3): 2}
    assert audited(either) is None


def test_a_reader_that_holds_the_table_for_long_is_not_waited_for(engine: Engine) -> None:
    with engine.connect() as reader:
        reader.execute(sa.select(entries)).all()
        with pytest.raises(sa.exc.OperationalError):
            make_months(engine, start_of(1))
    assert make_months(engine, start_of(1)) == [name_of(3)]


def test_lists_and_look_ups_are_as_before(engine: Engine) -> None:
    made = ship(engine, *(start_of(number) + DAY_US for number in (-2, -1, 0, 1, 2)))
    latest = calls.requests(engine, filters={}, limit=3, before=None, since=None, until=None)
    assert [row["id"] for row in latest] == made[:1:-1]
    older = calls.requests(engine, filters={}, limit=3, before=made[2], since=None, until=None)
    assert [row["id"] for row in older] == made[1::-1]
    with engine.connect() as connection:
        plan = explained(connection, sa.select(entries).where(entries.c.id == made[2]))
        assert name_of(0) in plan
        assert plan.count("Index Scan") + plan.count("Seq Scan") == 1


def explained(connection: Connection, query: sa.Select[Any]) -> str:
    text = query.compile(connection, compile_kwargs={"literal_binds": True})
    return "\n".join(connection.execute(sa.text(f"EXPLAIN {text}")).scalars())


# Of one table


def test_a_ledger_of_one_table_is_divided_without_moving_a_row(undivided: Engine, postgres: PostgresServer) -> None:
    fill(undivided, made_up(300, hours=84, start=NOW // DAY_US * DAY_US - 90 * DAY_US))
    with undivided.connect() as connection:
        rows = connection.execute(sa.select(entries).order_by(entries.c.id)).all()
        where_they_lie = connection.execute(sa.text("SELECT pg_relation_filenode('entries')")).scalar()
    postgres.execute("DROP ROLE IF EXISTS grafana; CREATE ROLE grafana LOGIN", "emptied")
    postgres.execute("GRANT USAGE ON SCHEMA public TO grafana; GRANT SELECT ON entries, ledger TO grafana", "emptied")

    assert divide(undivided, NOW) == ["entries_before", name_of(1), name_of(2)]

    with undivided.connect() as connection:
        assert connection.execute(sa.select(entries).order_by(entries.c.id)).all() == rows
        assert connection.execute(sa.text("SELECT pg_relation_filenode('entries_before')")).scalar() == where_they_lie
        connection.execute(sa.text("SET ROLE grafana"))
        assert connection.execute(sa.text("SELECT count(*) FROM entries")).scalar() == len(rows)
        assert connection.execute(sa.text("SELECT count(*) FROM ledger")).scalar() == len(rows)
    ship(undivided, NOW, start_of(1))
    with undivided.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM ledger")).scalar() == len(rows) + 2
    assert where(undivided) == {"entries_before": len(rows) + 1, name_of(1): 1}
    assert audited(undivided) is None
    postgres.execute("DROP OWNED BY grafana; DROP ROLE grafana", "emptied")


def test_divided_it_has_what_a_new_one_has(undivided: Engine, postgres: PostgresServer) -> None:
    divide(undivided, NOW)
    with postgres.new_database() as url:
        new = open_ledger(url)
        assert described(undivided) == described(new)
        new.dispose()


def described(engine: Engine) -> object:
    with engine.connect() as connection:
        query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'entries' ORDER BY 1"
        there = sa.inspect(connection)
        columns = [(each["name"], str(each["type"]), each["nullable"]) for each in there.get_columns("entries")]
        return columns, connection.execute(sa.text(query)).scalars().all()


def test_why_nothing_is_divided(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(NotDivided, match="by months already"):
        divide(engine, NOW)
    with pytest.raises(NotDivided, match="SQLite has no partitions"):
        divide(open_ledger(f"sqlite:///{tmp_path}/ledger.db"), NOW)


def test_somebodys_own_view_is_not_left_with_what_is_old(undivided: Engine) -> None:
    with undivided.begin() as connection:
        connection.execute(sa.text("CREATE VIEW mine AS SELECT id FROM entries"))
    with pytest.raises(NotDivided, match="mine read"):
        divide(undivided, NOW)


def test_an_entry_of_a_month_that_has_not_begun_is_said(undivided: Engine) -> None:
    made = ship(undivided, start_of(2))
    with pytest.raises(NotDivided, match=made[0]):
        divide(undivided, NOW)
    assert names(undivided) == []


# Retention


@EITHER
def test_old_months_go_with_their_tables_and_leave_their_sums(either: Engine) -> None:
    now = start_of(3) + 5 * DAY_US
    keep_days = (now - start_of(2)) // DAY_US - 2  # however long that month is
    make_months(either, now)
    ship(either, *(start_of(month) + day * DAY_US for month in range(-2, 4) for day in range(4)))
    spent = spend(either, ["day"], None, None)
    with either.connect() as connection:
        counters = connection.execute(sa.select(budget_spend)).all()

    assert drop_months(either, keep_days, now) == ["entries_before", name_of(0), name_of(1)]

    assert audited(either) is None
    assert where(either) == {name_of(2): 4, name_of(3): 4}
    assert spend(either, ["day"], None, None) == spent
    with either.connect() as connection:
        assert connection.execute(sa.select(budget_spend)).all() == counters
        assert connection.execute(sa.select(sa.func.sum(budget_retired.c.amount))).scalar() == 16 * 400
    assert drop_months(either, keep_days, now) == []
    assert delete_some(either, keep_days, now) == 2  # of the month that is not over: to the day, as ever
    assert audited(either) is None


def test_a_late_entry_of_a_month_that_is_gone_counts_and_goes(engine: Engine) -> None:
    now = start_of(1) + 5 * DAY_US
    ship(engine, start_of(-3), start_of(0))
    assert drop_months(engine, 5, now) == ["entries_before", name_of(0)]
    ship(engine, start_of(-3) + 7, start_of(0) + 7)
    assert where(engine) == {"entries_other": 2}
    assert audited(engine) is None
    assert delete_some(engine, 5, now) == 2
    assert audited(engine) is None


def test_a_month_that_a_sink_waits_for_stays(engine: Engine) -> None:
    now = start_of(1) + 5 * DAY_US
    made = ship(engine, start_of(-3), start_of(0))
    with engine.begin() as connection:
        connection.execute(sa.insert(export_log), [{"entry_id": made[1], "part": "", "recorded_at": 1}])
    assert drop_months(engine, 5, now) == ["entries_before"]
    assert where(engine) == {name_of(0): 1}


def test_a_month_is_not_dropped_under_a_reader(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.ledger.recording.retention._DROP_TRIES", 2)
    now = start_of(1) + 5 * DAY_US
    ship(engine, start_of(0))
    with engine.connect() as reader:
        reader.execute(sa.select(entries)).all()
        with pytest.raises(sa.exc.OperationalError):
            drop_months(engine, 5, now)
    assert where(engine) == {name_of(0): 1}
    assert audited(engine) is None
    assert drop_months(engine, 5, now) == ["entries_before", name_of(0)]


def test_the_first_id_of_a_time_is_below_all_of_it() -> None:
    made = Ids().new(NOW)
    assert first_id(NOW) < made < first_id(NOW + 1000)
    assert correction_id(made) > first_id(NOW)
