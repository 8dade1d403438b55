"""Jobs with random ends, killed meanwhile: every job that the provider bills is one entry, at the provider's price.

The bill is the provider's own (`jobs_provider.py`). A job whose creation was cut by a kill before its id was on disk is known to
nobody here: it must have an entry all the same, at its ceiling, `unconfirmed`, and may cost more than its bill, never less.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from proxy.ledger.database import connect
from proxy.ledger.schema import entries, jobs
from tests.support.gateway import ADMIN_KEY, Gateway, server
from tests.support.processes import get, module_running
from tests.support.waiting import wait_until

KEY = "sk-virtual-films-0000001"
ENDS = ("done", "done", "failed", "cancelled", "expired", "refunded", "forgotten")
_REFUSED = -1  # nobody listens
_NOT_TAKEN = (_REFUSED, 503)  # nobody has the request
_READY_S = 300.0  # a machine that does other work beside takes its time
RATES = {"film-1": "0.50", "film-2": "0.125"}


@dataclass
class JobsOutcome:
    """What came out; every number in `wrong` must be 0."""

    facts: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        return [f"{name}: {number}" for name, number in self.numbers.items() if number]

    def __str__(self) -> str:
        return "\n".join(f"  {name}: {value}" for name, value in {**self.facts, **self.numbers}.items())


def config(folder: Path, provider_port: int, max_s: int) -> dict[str, Any]:
    return {
        "server": server(),
        "upstreams": {"openai": {"base_url": f"http://127.0.0.1:{provider_port}/v1", "api_key": "sk-real"}},
        "models": {name: {"upstream": "openai"} for name in RATES},
        "prices": [
            {"provider": "openai", "model": name, "video_second": {"usd": rate, "per": 1}} for name, rate in RATES.items()
        ],
        "keys": [{"name": "films", "key": KEY, "team": "films"}],
        "budgets": [
            {"name": "all", "limit_usd": 1_000_000, "window": "total"},
            {"name": "each", "per": ["team"], "limit_usd": 1_000_000, "window": "month"},
        ],
        "jobs": {"poll_s": 0.5, "recheck_s": 2, "max_s": max_s},
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }  # fmt: skip


def killed_jobs(folder: Path, *, number: int, kills: int, seed: int = 1, max_s: int = 20) -> JobsOutcome:
    """So many jobs, while the whole gateway is killed so often; then wait until all have ended, and compare."""
    folder.mkdir(parents=True, exist_ok=True)
    bill = folder / "bill.jsonl"
    chance = random.Random(seed)
    with module_running(folder, "tests.torture.jobs_provider", "--bill", str(bill)) as port:
        gateway = Gateway(folder, config(folder, port, max_s))
        try:
            gateway.up(timeout_s=_READY_S)
            answers = _made(gateway, chance, number, kills)
            wait_until("every job has ended", lambda: not _running(gateway), max_s + 60 + number / 20)
            wait_until("what was given back is known", lambda: not _due(gateway), 60 + number / 20)
            verified = gateway.verified()
            outcome = _compare(gateway, bill)
            outcome.facts |= {"jobs asked for": number, "kills": kills, "answers": dict(answers)}
            reserved = json.loads(get(f"{gateway.admin_url}/api/budgets", ADMIN_KEY)[1])["items"]
            outcome.numbers["reserved in the end"] = sum(Decimal(one["reserved_usd"]) for one in reserved)
            outcome.numbers["verify"] = verified["first_difference"] or 0
            return outcome
        finally:
            gateway.close()


def _made(gateway: Gateway, chance: random.Random, number: int, kills: int) -> Counter[str]:
    """Ask for the jobs in parts, and kill between, in the middle of each part."""
    plans = [(n, chance.choice(ENDS), chance.random() * 2, chance.random() < 0.3) for n in range(number)]
    answers: Counter[str] = Counter()
    part = max(1, number // (kills + 1))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for first in range(0, number, part):
            waiting = [pool.submit(_one, gateway.url, *plan) for plan in plans[first : first + part]]
            if first // part < kills:
                time.sleep(chance.random() * part / 100)
                gateway.kill()
                gateway.up(timeout_s=_READY_S)
            answers.update(one.result() for one in waiting)
    return answers


def _one(url: str, nonce: int, end: str, after: float, asks: bool) -> str:
    body = {
        "model": "film-1" if nonce % 2 else "film-2", "seconds": str(4 + 4 * (nonce % 3)),
        "prompt": f"nonce=n{nonce} end={end} after={after:.2f} later=1",
    }  # fmt: skip
    give_up_at = time.monotonic() + _READY_S
    while (made := _call(url, "POST", "/v1/videos", nonce, body))[0] in _NOT_TAKEN and time.monotonic() < give_up_at:
        time.sleep(0.2)  # it is being started again
    status, answer = made
    if status == 200 and asks:
        _call(url, "GET", f"/v1/videos/{answer['id']}", nonce)
    return str(status)


def _call(url: str, method: str, path: str, nonce: int, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    headers = {
        "authorization": f"Bearer {KEY}", "content-type": "application/json", "x-taximeter-session-id": f"n{nonce}",
    }  # fmt: skip
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url + path, data, headers, method=method), timeout=30
        ) as got:
            return got.status, json.loads(got.read())
    except urllib.error.HTTPError as error:
        return error.code, {}
    except urllib.error.URLError as error:
        return (_REFUSED if isinstance(error.reason, ConnectionRefusedError) else 0), {}
    except (OSError, ValueError, http.client.HTTPException):
        return 0, {}


def _count(gateway: Gateway, *where: sa.ColumnElement[bool]) -> int:
    engine = connect(gateway.ledger)
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(jobs).where(*where)).scalar_one())
    finally:
        engine.dispose()


def _running(gateway: Gateway) -> int:
    return _count(gateway, jobs.c.state == "running")


def _due(gateway: Gateway) -> int:
    return _count(gateway, jobs.c.state == "settled", jobs.c.ask_at.is_not(None))


def _compare(gateway: Gateway, bill: Path) -> JobsOutcome:
    billed: dict[str, Decimal] = {}
    why: dict[str, str] = {}
    for line in bill.read_text().splitlines():
        row = json.loads(line)
        billed[row["nonce"]], why[row["nonce"]] = Decimal(row["usd"]), row["why"]
    engine = connect(gateway.ledger)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(entries)).mappings()]
        known = {row.id for row in connection.execute(sa.select(jobs.c.id))}
    engine.dispose()
    mine: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["status"] != "void":
            mine[row["session_id"]].append(row)
    attempts = {nonce: [row for row in found if row["kind"] == "attempt"] for nonce, found in mine.items()}
    lost = {nonce for nonce, found in attempts.items() if any(row["id"] not in known for row in found)}
    cost = {nonce: Decimal(sum(row["cost_nanousd"] or 0 for row in found)) / 10**9 for nonce, found in mine.items()}
    return JobsOutcome(
        facts={
            "jobs at the provider": len(billed),
            "by end": dict(Counter(why.values())),
            "billed_usd": str(sum(billed.values())),
            "in the ledger, usd": str(sum(cost.values())),
            "cut by a kill before their ids were known": len(lost),
            "of these charged above their bill, usd": str(sum(cost[one] - billed.get(one, 0) for one in lost)),
        },
        numbers={
            "missing": len(billed.keys() - cost.keys()),
            "double": sum(1 for nonce, found in attempts.items() if len(found) > 1 and nonce in billed),
            "stuck": sum(1 for row in rows if row["status"] == "running"),
            "under_billed": sum(1 for one in lost if cost[one] < billed.get(one, 0)),
            "difference_usd": sum(
                (abs(cost.get(one, Decimal(0)) - usd) for one, usd in billed.items() if one not in lost), Decimal(0)
            ),
        },
    )
