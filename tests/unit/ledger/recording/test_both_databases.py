"""What a spool comes to is the same in SQLite and in PostgreSQL, each of which is written to in its own ways."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from proxy.ledger.schema import entries
from proxy.spool.writer import SpoolWriter
from tests.support.postgres import PostgresServer
from tests.support.spooled import AT, IDS, Ledger, whole_intent, whole_settle
from tests.unit.ledger.beside.test_jobs import begun, ended, expired

Call = list[dict[str, Any]]

_TEXTS = (
    "t",
    "",
    "Überprüfung",
    "😀",
    'quo"te',
    "back\\slash",
    "new\nline\t\x01\x7f",
    "null",
    "{}",
    ',"status":',
    "x,]5",
    "é" * 1200,
)
_BESIDE: tuple[dict[str, Any], ...] = (
    {}, {}, {}, {"cost_nanousd": None, "cost_lines": None, "budgets": []}, {"provider_cost_nanousd": None}, {"cost_nanousd": 0},
    {"duration_ms": 7, "ttft_ms": 3, "overhead_ms": None}, {"itl_ms_sum": 7.5, "itl_count": 3}, {"usage": {}}, {"flags": []},
    {"usage": {"input": 5, "web_search": 2.5, "character": "0.75"}}, {"usage": {"input": -5, "output": 2**53 + 1}},
    {"budgets": [["b", "", 0, "usd", 400], ["c", "g", 7, "tokens", 9]]}, {"stored": ["d" * 32], "stored_model": "m"},
    {"epoch": "e", "lease": [3, 1]}, {"http_status": None, "status": "estimated"}, {"cost_nanousd": "x"}, {"told_usage": {"input": 1}},
)  # fmt: skip
_NOT_OF_THE_SPOOL = {"metric_state", "spool_positions"}  # of the batches, and the run


def calls(chance: random.Random) -> Iterator[Call]:
    """Of many kinds; of the most of them as many as are written by one statement."""
    for number in range(300):
        name, request = IDS.new(AT), IDS.new(AT)
        session = chance.choice([request, request, "s1", "s2"])
        who = {
            name: chance.choice(_TEXTS)
            for name in ("team", "user", "customer", "agent", "model")
            if chance.random() < 0.1
        }
        one = whole_intent(
            id=name, request_id=request, started_at=AT + number * 10**9, session_id=session, root_session_id=session, **who,
            labels={chance.choice(_TEXTS): chance.choice(_TEXTS)} if chance.random() < 0.2 else {"plan": "pro"},
        )  # fmt: skip
        said = chance.choice(_BESIDE)
        end = whole_settle(id=name, ended_at=one["started_at"] + 5, upstream_request_id=chance.choice(_TEXTS), **said)
        yield [one, end]
        if number % 20 == 0:
            others = [one | {"id": IDS.new(AT)} for _ in range(5)]
            yield [others[0], {"t": "void", "id": others[0]["id"], "ended_at": AT, "outcome": "crashed"}]
            yield [others[1], expired(others[1]), whole_settle(id=others[1]["id"])]
            yield [others[2], begun(others[2]), ended(others[2], 5), ended(others[2], 7, revision=1)]
            yield [others[3], {"t": "settle", "id": others[3]["id"]}]
            yield [
                others[4],
                {"t": "reserved", "id": others[4]["id"], "reserved_nanousd": 5, "budgets": []},
                end | {"id": others[4]["id"]},
            ]


def interleaved(some: list[Call], chance: random.Random) -> Iterator[bytes]:
    while some:
        call = chance.choice(some[:60])
        yield orjson.dumps(call.pop(0))
        if not call:
            some.remove(call)


def shipped(folder: Path, database: str, payloads: list[bytes]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each table."""
    ledger, chance, left = Ledger(folder, database), random.Random(2), iter(payloads)
    writer = SpoolWriter(ledger.folder, "w")
    while some := list(itertools.islice(left, chance.choice([1, 5, 50, 300]))):
        writer.append_all(some)
        ledger.ship()
    with ledger.engine.connect() as connection:
        tables = {
            table.name: sorted([dict(row) for row in connection.execute(sa.select(table)).mappings()], key=repr)
            for table in entries.metadata.sorted_tables
            if table.name not in _NOT_OF_THE_SPOOL
        }
    ledger.engine.dispose()
    writer.close()
    return tables


def test_both_come_to_the_same_rows(tmp_path: Path, postgres: PostgresServer) -> None:
    chance = random.Random(1)
    payloads = list(interleaved(list(calls(chance)), chance))
    here = shipped(tmp_path / "here", f"sqlite:///{tmp_path}/ledger.db", payloads)
    with postgres.new_database() as database:  # one that others had has lost what a new ledger begins with
        there = shipped(tmp_path / "there", database, payloads)

    for name, rows in here.items():
        assert there[name] == rows, name
    statuses = {row["status"] for row in here["entries"]}
    assert statuses == {"settled", "estimated", "unconfirmed", "void"}
    assert {name for name, rows in here.items() if rows} > {
        "entries",
        "budget_spend",
        "jobs",
        "stored",
        "spend_sessions",
        "label_days",
    }
