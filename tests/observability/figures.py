"""The figures that the observability of a release is judged by: `python -m tests.observability.figures`. Prints JSON.

What there is and was executed is counted by the tests; here: how long an alert takes, how many series there are after names
without end, and what a scrape costs. Prometheus and Alertmanager run with the intervals that are shipped.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from proxy.control.metrics.series import MetricState
from proxy.ids import Ids
from proxy.ledger.database import open_ledger
from proxy.ledger.entries.entry import Entry, entry_of
from proxy.ledger.planes.instances import name_of
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper
from tests.observability import boards
from tests.observability.servers import alertmanager, prometheus, receiver
from tests.observability.traffic import KEYS, Calls, gateway
from tests.support.gateway import ADMIN_KEY
from tests.support.waiting import wait_until
from tests.torture.harness import Gateway, Rig

_CROSSINGS = 5
_NAMES = 100_000
_ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def counts() -> dict[str, int]:
    """What is shipped."""
    shipped = boards.boards()
    return {
        "dashboards": len(shipped),
        "panels": sum(len(board["panels"]) for board in shipped.values()),
        "queries": len(list(boards.queries())),
        "variables": sum(len([v for v in boards.variables(board).values() if v["type"] == "query"]) for board in shipped.values()),
        "annotations": len(list(boards.annotations())),
        "recording_rules": len(boards.rules("rules.yml")),
        "alerts": len(boards.rules("alerts.yml")),
    }  # fmt: skip


def alert_to_webhook() -> dict[str, Any]:
    """Seconds from the first refused call of a budget to the webhook, several times, each at another moment of the scrape."""
    budgets = [
        {"name": f"b{n}", "match": {"label.crossing": f"c{n}"}, "limit_usd": "0.05", "window": "month"} for n in range(_CROSSINGS)
    ]  # fmt: skip
    keys = [
        {"name": f"k{n}", "key": f"sk-virtual-crossing-{n}", "team": "t", "labels": {"crossing": f"c{n}"}} for n in range(_CROSSINGS)
    ]  # fmt: skip
    took = []
    with tempfile.TemporaryDirectory() as name, receiver() as told:
        folder = Path(name)
        with (
            gateway(folder / "gateway", budgets=budgets, keys=keys) as rig,
            alertmanager(folder, told.port) as address,
            prometheus(folder, rig.gateway.admin_url.removeprefix("http://"), ADMIN_KEY, address) as asked,
        ):
            wait_until("Prometheus has scraped", lambda: asked.value("count(up == 1)") == 1, 60)
            for number in range(_CROSSINGS):
                calls = Calls(rig.gateway.url)
                calls.until_refused(f"sk-virtual-crossing-{number}")
                crossed_at = time.time()
                calls.close()
                at, _ = told.wait_for("TaximeterBudgetExhausted", 120, budget=f"b{number}")
                took.append(round(at - crossed_at, 1))
    return {"seconds": took, "median": statistics.median(took), "largest": max(took)}


def series_of(text: str) -> int:
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))


def _exposition(made: Gateway) -> str:
    return httpx.get(f"{made.admin_url}/metrics", headers=_ADMIN, timeout=30).raise_for_status().text


async def _names(url: str, count: int) -> None:
    """Calls with a new model, session, user, customer, label and path each time, 32 at a time."""
    chance = random.Random(11)
    todo = iter(range(count))

    async def caller(session: aiohttp.ClientSession) -> None:
        for number in todo:
            said = uuid.UUID(int=chance.getrandbits(128), version=4)
            headers = {
                "authorization": f"Bearer {KEYS['batch']}", "x-taximeter-session-id": str(said), "x-taximeter-user": f"u{said}",
                "x-taximeter-customer": f"c{said}", "x-taximeter-labels": f"l{number}={number}", "user-agent": f"agent-{said}/1",
                "x-taximeter-agent": f"a{said}",
            }  # fmt: skip
            model = ("tm-plain", f"made-up-{said}", f"unknown-{said}")[number % 3]
            path = "/v1/chat/completions" if number % 10 else f"/v1/{said}"
            body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": f"{said} [[out=2]]"}]}
            async with session.post(url + path, json=body, headers=headers) as answer:
                await answer.read()

    connector = aiohttp.TCPConnector(limit=32)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(caller(session) for _ in range(32)))


def series_after_names() -> dict[str, Any]:
    """The number of series after some hundred calls, and after 100,000 more with names that nobody has ever used."""
    with tempfile.TemporaryDirectory() as name, gateway(Path(name)) as rig:
        asyncio.run(_names(rig.gateway.url, 300))
        rig.quiet(60)
        _until_measured(rig)
        before = series_of(_exposition(rig.gateway))
        began = time.monotonic()
        asyncio.run(_names(rig.gateway.url, _NAMES))
        took = time.monotonic() - began
        rig.quiet(300)
        _until_measured(rig)
        return {"names": _NAMES, "before": before, "after": series_of(_exposition(rig.gateway)), "seconds": round(took)}


def _until_measured(rig: Rig) -> None:
    def measured() -> bool:
        return [value for _, value in rig.gateway.metrics().get("taximeter_sessions_active", ())] == [0]

    wait_until("all sessions are measured", measured, 120)


def _an_hour(instance: str, calls: int) -> Iterator[Entry]:
    """An hour of 10 teams and 20 models: every team uses every model, from three clients, in streams or not."""
    chance, ids = random.Random(5), Ids()
    now = time.time_ns() // 1000
    for number in range(calls):
        at = now - 3_600_000_000 + number * 3_600_000_000 // calls
        model, team = f"model-{chance.randrange(20):02d}", f"team-{chance.randrange(10)}"
        provider = f"provider-{int(model[-2:]) % 4}"
        session = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        intent = {
            "t": "intent", "id": ids.new(at), "request_id": ids.new(at), "attempt": 1, "started_at": at, "operation": "chat",
            "dialect": "openai", "stream": chance.random() < 0.6, "upstream": provider, "provider": provider, "model": model,
            "model_requested": model, "key": team, "team": team, "session_id": session, "session_source": "header",
            "root_session_id": session, "client": chance.choice(["claude-code", "codex", "openai-python"]),
            "reserved_nanousd": 20_000_000,
        }  # fmt: skip
        usage = {"input": 900, "cache_read": 3000, "output": 200, "reasoning": 100}
        took = chance.lognormvariate(8, 0.8)
        costs = {unit: quantity * 2000 for unit, quantity in usage.items()}
        end = {
            "t": "settle", "id": intent["id"], "ended_at": at + int(took * 1000), "status": "settled",
            "outcome": chance.choices(["ok", "client_disconnected", "upstream_error"], weights=[95, 3, 2])[0],
            "http_status": 200, "usage": usage, "usage_source": "provider", "cost_nanousd": sum(costs.values()),
            "cost_source": "computed", "ttft_ms": took * 0.2, "duration_ms": took, "overhead_ms": chance.lognormvariate(-1, 0.4),
            "itl_ms_sum": took * 0.8, "itl_count": 300,
            "cost_lines": [{"unit": unit, "cost_usd": f"{cost / 1e9:.9f}"} for unit, cost in costs.items()],
        }  # fmt: skip
        yield entry_of(intent, end, instance)


def scrape(calls: int) -> dict[str, Any]:
    """What a scrape takes and weighs, in both formats, after so many calls within an hour."""
    with tempfile.TemporaryDirectory() as name, gateway(Path(name), server={}) as rig:
        rig.gateway.stop(30)
        folder = Path(name)
        engine, instance = open_ledger(rig.gateway.ledger), name_of(folder / "data")
        shipper = Shipper(engine, instance, MetricState.load(engine, instance))
        made = list(_an_hour(instance, calls))
        for first in range(0, len(made), 2000):
            shipper.ship(Batch(entries=made[first : first + 2000]), Positions([], []))
        engine.dispose()
        rig.gateway.up()
        _until_shipped(rig)
        told: dict[str, Any] = {"calls": calls}
        for kind, accept in (("text", "text/plain"), ("openmetrics", "application/openmetrics-text")):
            took = []
            with httpx.Client(headers=_ADMIN | {"accept": accept, "accept-encoding": "gzip"}) as client:
                for _ in range(21):
                    began = time.perf_counter()
                    answer = client.get(f"{rig.gateway.admin_url}/metrics")
                    took.append((time.perf_counter() - began) * 1000)
            told[kind] = {
                "ms_median": round(statistics.median(took), 1),
                "ms_largest": round(max(took), 1),
                "bytes": len(answer.content),
            }
            told["series"] = series_of(answer.text)
        return told


def _until_shipped(rig: Rig) -> None:
    wait_until("the gateway answers", lambda: "taximeter_build_info" in rig.gateway.metrics(), 30)


def main() -> None:
    figures: dict[str, Any] = {"shipped": counts(), "scrape": [scrape(72_000), scrape(7200)]}
    figures["series"] = series_after_names()
    figures["alert_to_webhook"] = alert_to_webhook()
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
