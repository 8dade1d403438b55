"""Whether the ledger can say anything else of keys and raises is known without reading them, whoever wrote."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import compile_budgets
from proxy.config.model import Budget
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import keys, raises
from proxy.ledger.planes.changes import Changes
from proxy.ledger.schema import metric_state

BUDGETS = compile_budgets([Budget(name="b", limit_usd=Decimal(1), window="total")])
NOW_S = 1_800_000_000.0


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = open_ledger(database)
    yield opened
    opened.dispose()


@pytest.fixture
def other(engine: Engine, database: str) -> Iterator[Engine]:
    opened = open_ledger(database)
    yield opened
    opened.dispose()


def raised(engine: Engine, until_s: float | None = None) -> str:
    wanted = raises.RaiseRequest("b", Decimal(5), None, until_s)
    return str(raises.make_raise(engine, BUDGETS, wanted, now_s=NOW_S)["id"])


def commit(engine: Engine, numbers: Iterator[int] = count()) -> None:  # noqa: B008 - one for all of them
    """What calls add to the ledger."""
    with writing(engine).begin() as connection:
        connection.execute(sa.insert(metric_state).values(instance="i", name=str(next(numbers)), labels="", value=""))


KINDS: dict[str, Callable[[Engine, str], object]] = {
    "create": lambda engine, _: keys.create_key(engine, "new"),
    "revoke": lambda engine, _: keys.revoke_key(engine, "old"),
    "revoke, and make again under the same name": lambda engine, _: (
        keys.revoke_key(engine, "old") and keys.create_key(engine, "old", limits=keys.limits_named("old", "4", "month"))
    ),
    "rotate": lambda engine, _: keys.rotate_key(engine, "old"),
    "rotate with a time of grace": lambda engine, _: keys.rotate_key(engine, "old", grace_s=60),
    "raise": lambda engine, _: raised(engine),
    "raise for a while": lambda engine, _: raised(engine, NOW_S + 60),
    "end a raise": lambda engine, raise_id: raises.end_raise(engine, raise_id, NOW_S + 1),
    "lower a raise": lambda engine, raise_id: raises.lower_raise(
        engine, BUDGETS, raise_id, to=Decimal(2), now_s=NOW_S + 1
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_end", [False, True], ids=["for ever", "for a while"])
def test_each_kind_of_change_by_whomever_gives_another_mark(
    engine: Engine, other: Engine, kind: str, *, has_end: bool
) -> None:
    keys.create_key(engine, "old", limits=keys.limits_named("old", "5", "month"))
    keys.create_key(engine, "revoked")
    keys.revoke_key(engine, "revoked")
    raise_id = raised(engine, NOW_S + 3600 if has_end else None)
    with closing(Changes(engine)) as changes:
        before = changes.version(), changes.mark()
        assert before[1] is not None
        assert KINDS[kind](other, raise_id)
        after = changes.version(), changes.mark()
        assert before[1] != after[1]
        assert (before[0] != after[0]) == (engine.dialect.name == "sqlite")
        assert (changes.version(), changes.mark()) == after


def test_what_calls_add_to_the_ledger_gives_none(engine: Engine, other: Engine) -> None:
    keys.create_key(engine, "one")
    raised(engine)
    with closing(Changes(engine)) as changes:
        version, mark = changes.version(), changes.mark()
        for writer in (engine, other):
            commit(writer)
            assert changes.mark() == mark
        if engine.dialect.name == "sqlite":
            assert changes.version() != version
        else:
            assert changes.version() is None


def test_an_end_that_comes_at_whichever_moment_gives_another_mark(engine: Engine) -> None:
    raise_id = raised(engine, NOW_S + 3600)
    with closing(Changes(engine)) as changes:
        changes.version()
        before = changes.mark()
        assert raises.end_raise(engine, raise_id, NOW_S + 3600 - 2147.483647)
        assert changes.mark() != before


# What no command does, and a person may, in one transaction.
BY_HAND = {
    "two keys' ends are exchanged": "UPDATE keys SET expires_at = 3000000000000000 - expires_at WHERE expires_at IS NOT NULL",
    "a raise is shortened, another one lengthened": "UPDATE raises SET until_at = 3000000000000000 - until_at",
}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_a_sum_alone_would_not_show_gives_another_mark(engine: Engine, what: str) -> None:
    key = {"name": "n", "created_at": 1}
    raise_ = {"budget": "b", "by_amount": 1, "created_at": 1}
    with writing(engine).begin() as connection:
        for number, end in enumerate((1_400_000_000_000_000, 1_600_000_000_000_000)):
            own = {"id": str(number)}
            connection.execute(sa.insert(keys.keys), own | key | {"key_id": str(number), "expires_at": end})
            connection.execute(sa.insert(raises.raises), own | raise_ | {"until_at": end})
    with closing(Changes(engine)) as changes:
        changes.version()
        before = changes.mark()
        with writing(engine).begin() as connection:
            connection.exec_driver_sql(BY_HAND[what])
        assert changes.mark() != before


def test_a_transaction_that_began_before_others_and_ends_behind_them_gives_another_mark(engine: Engine) -> None:
    """Its number is lower than theirs, by as much as another one's is higher."""
    if engine.dialect.name != "postgresql":
        return
    for name in "ab":
        keys.create_key(engine, name)
    tag = sa.update(keys.keys).values(labels='{"by":"hand"}')
    with engine.connect() as late, closing(Changes(engine)) as changes:
        late.exec_driver_sql("SELECT txid_current()")
        for name in "ab":
            with writing(engine).begin() as connection:
                connection.execute(tag.where(keys.keys.c.name == name))
        before = changes.mark()
        late.execute(sa.update(keys.keys).values(revoked_at=1).where(keys.keys.c.name == "a"))
        late.commit()
        with writing(engine).begin() as connection:
            connection.execute(tag.where(keys.keys.c.name == "b"))
        after = changes.mark()
        assert before is not None
        assert after is not None
        assert before != after


def test_a_vacuum_that_freezes_all_rows_hides_no_change(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        return
    for name in "ab":
        keys.create_key(engine, name)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM FULL FREEZE keys")
    with closing(Changes(engine)) as changes:
        before = changes.mark()
        keys.revoke_key(engine, "a")
        assert changes.mark() != before


def test_a_file_of_hundreds_of_thousands_of_revoked_keys_that_expire_has_no_sum_that_is_too_large(
    engine: Engine,
) -> None:
    row = {"name": "n", "created_at": 1, "revoked_at": 2**52, "expires_at": 2**53}
    with writing(engine).begin() as connection:
        connection.execute(sa.insert(keys.keys), [{"id": str(n), "key_id": str(n)} | row for n in range(2000)])
    with closing(Changes(engine)) as changes:
        changes.version()
        assert changes.mark() is not None


def test_a_ledger_that_is_locked_is_no_reason_to_wait(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with closing(Changes(engine)) as changes, writing(engine).begin() as connection:
        before = changes.version(), changes.mark()
        connection.exec_driver_sql("DELETE FROM keys")
        assert (changes.version(), changes.mark()) == before


def test_a_connection_that_is_asked_is_closed_behind_the_answer(tmp_path: Path) -> None:
    """At a stop: where it was closed meanwhile, Python ended with the process, and what calls had left was not recorded."""
    engine, said = open_ledger(f"sqlite:///{tmp_path}/ledger.db"), []
    is_asked, is_closed = threading.Event(), threading.Event()

    class Asked:
        def execute(self, _: str) -> Asked:
            is_asked.set()
            said.append("closed" if is_closed.wait(0.2) else "answered")
            return self

        def fetchone(self) -> tuple[int, ...]:
            return (1,)

        def close(self) -> None:
            is_closed.set()

    changes = Changes(engine)
    changes._connection = Asked()
    with ThreadPoolExecutor(1) as pool:
        mark = pool.submit(changes.mark)
        assert is_asked.wait(30)
        changes.close()
        assert mark.result() == ((1,), (1,))
    assert said == ["answered", "answered"]
    assert is_closed.is_set()
    assert changes.mark() is None
    engine.dispose()


def test_another_connection_has_another_count(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with closing(Changes(engine)) as changes:
        before = changes.version()
        changes.close()
        keys.create_key(engine, "one")
        assert changes.version() != before


def test_who_asks_no_ledger_is_told_of_no_mark(engine: Engine) -> None:
    with closing(Changes(engine)) as changes:
        changes.version()
        with writing(engine).begin() as connection:
            connection.exec_driver_sql("ALTER TABLE raises RENAME TO gone")
        assert changes.mark() is None
