"""Exports in a test: a receiver in a process of its own, asked and told, and a ledger that has something to export."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.config.exports import Export
from proxy.config.reading import read_section
from proxy.exports.exporter import Exporter
from proxy.exports.sinks import make_sink
from proxy.ledger.beside.export_log import keep, take_place
from proxy.ledger.schema import entries
from proxy.times import now_us
from tests.support.processes import get, module_running

INSTANCE = "i"


@dataclass(frozen=True)
class Told:
    """A receiver that listens."""

    url: str

    def plan(self, *answers: dict[str, Any], refuse: str | None = None) -> None:
        body = json.dumps({"answers": answers, "refuse": refuse}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/plan", body), timeout=10):
            pass

    def forget(self) -> None:
        """Everything that it has and that it was told."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/forget", b""), timeout=10):
            pass

    def taken(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(get(f"{self.url}/taken")[1])["taken"]
        return events

    def statuses(self) -> list[int]:
        answered: list[int] = json.loads(get(f"{self.url}/taken")[1])["requests"]
        return answered


@contextlib.contextmanager
def receiver(folder: Path) -> Iterator[Told]:
    with module_running(folder, "tests.support.export_receiver") as port:
        yield Told(f"http://127.0.0.1:{port}")


def exporter(engine: Engine, row: dict[str, Any], since: int | None = None) -> Exporter:
    """Of a sink that has its place and is kept by this instance."""
    checked = read_section(Export, row)
    take_place(engine, checked.key, checked.type, since, now_us())
    keep(engine, checked.key, INSTANCE, now_us(), now_us() + 3_600_000_000)
    return Exporter(engine, INSTANCE, checked.key, make_sink(checked, engine))


def drain(one: Exporter) -> None:
    while one.step():
        pass


def ids(engine: Engine, *where: Any) -> list[str]:
    """Of all entries that are exported, in order."""
    query = sa.select(entries.c.id).where(entries.c.status.not_in(["void", "running"]), *where).order_by(entries.c.id)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())


def sorted_ids(events: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(str(event["id"]) for event in events)
