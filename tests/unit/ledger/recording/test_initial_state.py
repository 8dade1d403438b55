"""What a data plane begins with is one state of the ledger, whatever is committed while it is read."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from proxy.budgets.budget import compile_budgets
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.ledger.planes.definitions import take_definitions
from proxy.ledger.recording.initial_state import initial_state
from proxy.ledger.recording.shipping import last_batch
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import Ledger, append, intent
from tests.unit.ledger.beside.test_jobs import begun, ended

NOW_S = 1_795_435_800.0
BUDGETS = compile_budgets(read_section(Config, {"budgets": [{"name": "b", "limit_usd": 1, "window": "total"}]}).budgets)


@pytest.mark.parametrize("behind", range(6))
def test_a_job_that_ends_meanwhile_has_its_reservation_or_its_cost(ledger: Ledger, behind: int) -> None:
    """behind: so many questions. It had both, or neither."""
    take_definitions(ledger.engine, BUDGETS, NOW_S)
    writer = SpoolWriter(ledger.folder, "w")
    one = intent()
    append(writer, one, begun(one))
    ledger.ship()
    append(writer, ended(one, 700))
    questions = [0]

    def ends(*_: Any) -> None:
        questions[0] += 1
        if questions[0] == behind + 1:
            ledger.ship()

    engine = ledger.engine.execution_options()
    sa.event.listen(engine, "before_cursor_execute", ends)
    said = initial_state(engine, "i", BUDGETS, NOW_S)
    sa.event.remove(engine, "before_cursor_execute", ends)

    ledger.ship()
    with ledger.engine.connect() as connection:
        last = last_batch(connection, "i")
    spent = sum(seed["spent"] for seed in said.seeds)
    assert (spent, len(said.jobs)) == ((700, 0) if said.batch == last else (0, 1))
    assert said.defined == {"b": BUDGETS[0].definition}
