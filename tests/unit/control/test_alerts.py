"""Alerts: each once, whatever restarts; delivered in order, again and again until they are taken."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.budgets.budget import compile_budgets
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control import alerts as alerts_module
from proxy.control.alerts import Alerts, blocks, overruns, payload
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry, as_shipped, entry_of
from proxy.ledger.recording.batch import RefusedCall
from proxy.ledger.schema import alerts, budget_spend
from tests.support.hook import Hook
from tests.support.waiting import wait_until

AT = 1_795_435_785_000_000


class Office:
    """Alerts on a ledger whose counters the test sets."""

    def __init__(self, folder: Path, webhook: str | None, instance: str = "i", **budget: Any) -> None:
        row = {"name": "b", "limit_usd": 10, "window": "day"} | budget
        self.config = read_section(Config, {"budgets": [row], "alerts": {"webhook": webhook}})
        self.engine = open_ledger(f"sqlite:///{folder}/l.db")
        budgets = compile_budgets(self.config.budgets)
        self.start = budgets[0].window_now(time.time())[0]
        self.alerts = Alerts(self.engine, instance, lambda: self.config, lambda: budgets)
        self.alerts.start()

    def spend(self, nanousd: int, group: str = "") -> None:
        """The recorder has shipped an entry, and the counter is at `nanousd` with it."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(budget_spend).where(budget_spend.c["group"] == group))
            row = {"budget": "b", "group": group, "window_start": self.start, "measure": "usd", "amount": nanousd}
            connection.execute(sa.insert(budget_spend), row)
        self.alerts.shipped(as_shipped([entry(["b", group, self.start, "usd", 1])]), [])

    def kept(self) -> list[tuple[str, str, str]]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(alerts).order_by(alerts.c.id)).mappings().all()
        return [(row["kind"], row["group"], row["detail"]) for row in rows]

    def sent(self) -> list[int | None]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(alerts.c.delivered_at).order_by(alerts.c.id)).scalars())


def entry(*budgets: Any, cost: int = 1, reserved: int = 1) -> Entry:
    intent = {
        "id": "a", "request_id": "r", "attempt": 1, "started_at": AT, "model": "m", "provider": "p",
        "reserved_nanousd": reserved,
    }  # fmt: skip
    end = {
        "t": "settle",
        "ended_at": AT,
        "status": "settled",
        "outcome": "ok",
        "cost_nanousd": cost,
        "budgets": list(budgets),
    }
    return entry_of(intent, end, "i")


def test_each_threshold_is_told_once_a_window(tmp_path: Path, hook: tuple[str, type[Hook]]) -> None:
    url, taken = hook
    office = Office(tmp_path, url)
    for dollars in (1, 5, 6, 8, 9, 10, 11):
        office.spend(dollars * 10**9)
    assert office.kept() == [("threshold", "", "0.5"), ("threshold", "", "0.8"), ("threshold", "", "1")]
    wait_until("all is delivered", lambda: len(taken.taken) == 3)
    assert [one["event"]["threshold"] for one in taken.taken] == ["0.5", "0.8", "1"]
    assert taken.taken[0]["text"] == "Budget b: $5 of $10 spent, 50% reached."
    assert office.alerts.counts() == {("threshold", "b"): 3}
    office.alerts.stop()


def test_a_restart_and_another_instance_tell_nothing_twice(tmp_path: Path, hook: tuple[str, type[Hook]]) -> None:
    url, taken = hook
    for instance in ("i", "i", "other"):
        office = Office(tmp_path, url, instance)
        office.spend(9 * 10**9)
        wait_until("all is delivered", lambda: len(taken.taken) == 2)
        office.alerts.stop()
    assert len(office.kept()) == 2


def test_each_group_has_its_own(tmp_path: Path) -> None:
    office = Office(tmp_path, None, per=["session"], alert_at=[1.0])
    office.spend(10 * 10**9, "s1")
    office.spend(11 * 10**9, "s2")
    office.spend(12 * 10**9, "s1")
    assert office.kept() == [("threshold", "s1", "1"), ("threshold", "s2", "1")]
    office.alerts.stop()


def test_what_nobody_was_told_is_not_said_to_be_sent(
    tmp_path: Path, hook: tuple[str, type[Hook]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page had a time under "Sent to the webhook" without any, and for what was given up."""
    url, taken = hook
    office = Office(tmp_path, None)
    office.spend(5 * 10**9)
    office.config = read_section(Config, {"alerts": {"webhook": "http://127.0.0.1:9/gone"}})
    office.spend(8 * 10**9)
    office.alerts.stop()
    monkeypatch.setattr(alerts_module, "_GIVEN_UP_S", 0)
    again = Office(tmp_path, url)
    wait_until("it is given up", lambda: None not in again.sent())
    monkeypatch.setattr(alerts_module, "_GIVEN_UP_S", 86_400)
    again.spend(10 * 10**9)
    wait_until("it is sent", lambda: len(taken.taken) == 1 and None not in again.sent())
    again.alerts.stop()
    assert [bool(at) for at in again.sent()] == [False, False, True]


@pytest.mark.long
@pytest.mark.parametrize("trouble", [[500], [429, 503], [302]])
def test_what_is_not_taken_is_sent_again_and_in_order(
    tmp_path: Path, hook: tuple[str, type[Hook]], monkeypatch: pytest.MonkeyPatch, trouble: list[int]
) -> None:
    monkeypatch.setattr(alerts_module, "_PAUSES_S", (0.01, 0.05))
    url, taken = hook
    taken.statuses += trouble
    office = Office(tmp_path, url)
    office.spend(10 * 10**9)
    wait_until("all is delivered", lambda: len(taken.taken) == 3)
    assert [one["event"]["threshold"] for one in taken.taken] == ["0.5", "0.8", "1"]
    assert taken.asked == 3 + len(trouble)
    office.alerts.stop()


def test_a_webhook_that_is_away_holds_nobody_up_and_gets_all_of_it_later(
    tmp_path: Path, hook: tuple[str, type[Hook]]
) -> None:
    url, taken = hook
    office = Office(tmp_path, "http://127.0.0.1:9/gone")
    began = time.monotonic()
    office.spend(10 * 10**9)
    assert time.monotonic() - began < 2
    office.alerts.stop()
    assert taken.taken == []
    back = Office(tmp_path, url)
    wait_until("all is delivered", lambda: len(taken.taken) == 3)
    back.alerts.stop()


def test_no_secret_of_the_webhook_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    office = Office(tmp_path, "http://127.0.0.1:9/services/T0/B0/sEcReT")
    office.spend(10 * 10**9)
    wait_until("it is logged", lambda: "cannot be reached" in caplog.text)
    office.alerts.stop()
    assert "sEcReT" not in caplog.text


@pytest.mark.parametrize(
    "said", [b"\x15\x03\x03\x00\x02\x02\x46", b"220 mail.example ESMTP\r\n", b"HTTP/1.1 ok\r\n\r\n"]
)
def test_what_answers_something_else_is_tried_again(tmp_path: Path, hook: tuple[str, type[Hook]], said: bytes) -> None:
    """A port that speaks TLS, or is no web server at all, ended the thread that delivers, and so all alerts."""
    url, taken = hook
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            server.close()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        answering = threading.Thread(target=answer)
        answering.start()
        office = Office(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}/hook")
        office.spend(5 * 10**9)
        answering.join()
        office.config = read_section(Config, {"alerts": {"webhook": url}})
        wait_until("it is delivered", lambda: len(taken.taken) == 1)
        office.alerts.stop()
    assert taken.taken[0]["event"]["threshold"] == "0.5"


def test_a_fault_while_it_delivers_does_not_end_it(
    tmp_path: Path, hook: tuple[str, type[Hook]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, taken = hook
    faults = [ImportError("another version's")]
    post = alerts_module._post

    def failing(to: str, body: dict[str, Any]) -> bool:
        if faults:
            raise faults.pop()
        return post(to, body)

    monkeypatch.setattr(alerts_module, "_post", failing)
    office = Office(tmp_path, url)
    office.spend(5 * 10**9)
    wait_until("it is delivered", lambda: len(taken.taken) == 1)
    office.alerts.stop()
    assert faults == []


def test_refusals_become_events() -> None:
    refused = [
        RefusedCall("budget_exceeded", "b", "s", 60, "s"),
        RefusedCall("budget_busy", "b", "s", 60, "s"),
        RefusedCall("loop_detected", None, "", 0, "s"),
        RefusedCall("session_limit_reached", None, "", 0, "s"),
        RefusedCall("budget_store_unavailable", None, "", 0, "s"),
        RefusedCall("model_not_priced", None, "", 0, "s"),
    ]
    told = [(event.kind, event.budget, event.group, event.window_start) for event in blocks(refused, 7300.0)]
    assert told == [
        ("block", "b", "s", 60),
        ("loop", "", "s", 0),
        ("session_limit", "", "s", 0),
        ("store_down", "", "", 7200),
    ]


def test_a_bill_beyond_its_reservation_is_told_for_each_of_its_budgets() -> None:
    over = entry(["b", "", 0, "usd", 9], ["n", "", 0, "requests", 1], ["c", "g", 60, "usd", 9], cost=9, reserved=5)
    assert [(event.kind, event.budget, event.group) for event in overruns(as_shipped([over]))] == [
        ("overrun", "b", ""),
        ("overrun", "c", "g"),
    ]
    assert overruns(as_shipped([entry(["b", "", 0, "usd", 5], cost=5, reserved=5)])) == []
    assert [event.group for event in overruns(as_shipped([entry(cost=9, reserved=5)]))] == ["m"]


def test_no_name_of_a_clients_making_is_a_link_in_slack() -> None:
    row = {
        "id": "1",
        "kind": "loop",
        "budget": "",
        "group": "<http://evil|refund>&co",
        "window_start": 0,
        "detail": "",
        "created_at": 1,
    }
    made = payload(row | {"text": "Session <http://evil|refund>&co: a loop was stopped."})
    assert made["text"] == "Session &lt;http://evil|refund&gt;&amp;co: a loop was stopped."
    assert made["event"]["group"] == "<http://evil|refund>&co"  # for programs, as it is
