"""Whether the ledger can say anything else of keys and raises is known without reading them, whoever wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from itertools import count

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
