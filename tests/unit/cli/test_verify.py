"""`verify` asks a server that runs where its budgets stand: the ledger must say the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.verify import _compare_store
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.ledger.audit import store
from proxy.ledger.database import open_ledger
from proxy.money import usd_text
from tests.support.made_up import fill, made_up

SPENT = sum(item[4] for entry in made_up(50) for item in entry.budgets if item[0] == "company")


class _Api(BaseHTTPRequestHandler):
    answers: Iterator[tuple[int, int]]  # status, and what the budget has

    def do_GET(self) -> None:
        assert self.path == "/api/budgets"
        assert self.headers["authorization"] == "Bearer sk-admin"
        status, spent = next(self.answers)
        self.send_response(status)
        self.end_headers()
        group = {"group": "", "spent_usd": usd_text(spent), "reserved_usd": "0"}
        self.wfile.write(
            json.dumps(
                {"items": [{"name": "company", "window": {"start": None, "end": None}, "groups": [group]}]}
            ).encode()
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's naming
        pass


Ask = Callable[[Iterator[tuple[int, int]]], tuple[str, tuple[str, str] | None]]


@pytest.fixture
def ask(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Compare a ledger in which the budget has SPENT with a server that answers so."""
    monkeypatch.setattr(store, "_CATCH_UP_S", 0)
    engine = open_ledger(database)
    fill(engine, made_up(50))
    server = HTTPServer(("127.0.0.1", 0), _Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def compare(answers: Iterator[tuple[int, int]]) -> tuple[str, tuple[str, str] | None]:
        _Api.answers = answers
        return _compare_store(settings(database, server.server_port))

    yield compare
    server.shutdown()
    server.server_close()
    thread.join()
    engine.dispose()


def settings(database: str, port: int) -> Config:
    return read_section(
        Config,
        {
            "ledger": database,
            "budgets": [{"name": "company", "limit_usd": 5, "window": "total"}],
            "server": {"admin_port": port, "admin_key": "sk-admin"},
        },
    )


def always(status: int, spent: int) -> Iterator[tuple[int, int]]:
    while True:
        yield status, spent


def test_a_store_that_has_what_the_ledger_has(ask: Ask) -> None:
    assert ask(always(200, SPENT)) == ("its 1 counters are the ledger's", None)


@pytest.mark.parametrize("off", [1, -1, 5_000_000_000])
def test_a_store_that_differs_by_a_nano_dollar(ask: Ask, off: int) -> None:
    assert ask(always(200, SPENT + off)) == (
        "differs",
        ("budget company", f"the store has {SPENT + off}, the ledger {SPENT}"),
    )


def test_a_call_that_is_on_its_way_to_the_ledger_is_waited_for(ask: Ask) -> None:
    def soon() -> Iterator[tuple[int, int]]:
        yield 200, SPENT + 7
        yield from always(200, SPENT)

    assert ask(soon()) == ("its 1 counters are the ledger's", None)


def test_a_server_that_does_not_say(ask: Ask) -> None:
    assert ask(always(401, 0)) == ("not asked: the server answered 401", None)


def test_no_server(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/l.db"
    open_ledger(database).dispose()
    assert _compare_store(settings(database, 9)) == ("not asked: no server answers", None)
