"""The audit sees a minute whose parts are not its cost, and a share that is not the one in the books."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.audit.capacities import check_capacities
from proxy.ledger.audit.difference import Differs
from proxy.ledger.capacity_schema import capacity_minutes
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.schema import entries
from proxy.times import MINUTE_US
from tests.support.machines import MORNING, finish, simulate


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    simulate(made, 60, minutes=20)
    yield made
    made.dispose()


def check(engine: Engine) -> int:
    with engine.connect() as connection:
        return check_capacities(connection, None)


def test_sound_books_are_sound_while_calls_go_on_and_when_all_is_over(engine: Engine) -> None:
    assert 0 < check(engine) <= 20
    finish(engine, MORNING + 20 * MINUTE_US)
    assert check(engine) == 20


def test_a_minute_whose_parts_are_not_its_cost_is_named(engine: Engine) -> None:
    c = capacity_minutes.c
    with writing(engine).begin() as connection:
        connection.execute(
            sa.update(capacity_minutes).where(c.minute_at == MORNING).values(idle_nanousd=c.idle_nanousd + 1)
        )
    with pytest.raises(Differs, match=r"pool 2026-11-23T00:00:00.*nano-USD"):
        check(engine)


def test_a_share_that_is_not_the_one_in_the_books_is_seen(engine: Engine) -> None:
    one = sa.select(sa.func.min(entries.c.id)).where(entries.c.capacity_nanousd > 0).scalar_subquery()
    with writing(engine).begin() as connection:
        connection.execute(
            sa.update(entries).where(entries.c.id == one).values(capacity_nanousd=entries.c.capacity_nanousd + 1)
        )
    with pytest.raises(Differs, match="its minutes give calls"):
        check(engine)
