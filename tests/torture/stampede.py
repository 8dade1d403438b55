"""Many processes race for one budget until it refuses them: what the provider bills stays below the limit, and near it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.gateway import ADMIN_KEY
from tests.support.processes import get

from .harness import CALLERS, Rig
from .scenarios import Outcome
from .traffic import Traffic

_SMALL = {"model": "tm-half", "messages": [{"role": "user", "content": "hi [out=1]"}], "max_tokens": 1}


def stampede(
    folder: Path,
    *,
    limit_usd: str = "1",
    processes: int = 4,
    callers: int = 32,
    calls: int = 100_000,
    seed: int = 1,
    sessions: int = 0,
    changes: dict[str, Any] | None = None,
    options: tuple[str, ...] = (),
) -> Outcome:
    """`processes` with `callers` each, every caller until its budget refuses it; `sessions`: so many share a limit each."""
    per = {"per": ["session"]} if sessions else {}
    budgets = [{"name": "small", "limit_usd": limit_usd, "window": "total", **per}]
    wanted = Traffic(
        calls=calls // processes, concurrency=callers, retry_busy=True, until_402=not sessions, stream=0.3,
        models={"tm-odd": 1.0}, kinds={"chat": 1.0}, out=(1, 16), words=(2, 10), delay=(0, 0.02), cap_slack=(0, 30),
        sessions=sessions,
    )  # fmt: skip
    with Rig(folder, budgets=budgets, changes=changes or {}, options=options) as rig:
        loads = [rig.begin_load(replace(wanted, seed=seed * 1000 + number)) for number in range(processes)]
        summaries = [rig.end_load(load) for load in loads]
        rig.quiet()
        small = _ask_small(rig) if not sessions else 200
        verdict = rig.verdict(clean=False)
        figures = verdict.budgets["small"]
        verdict.numbers["failed"] = 0  # refusals are what was asked for
        told = [json.loads(line) for log in rig.logs for line in log.read_text().splitlines()]
        refused = {line["nonce"] for line in told if line["status"] in (402, 429)}
        billed = {json.loads(line).get("nonce") for line in rig.provider.invoice.read_text().splitlines()}
        verdict.start("refused_but_sent", "small_call_refused")
        for nonce in sorted(refused & billed):
            verdict.add("refused_but_sent", nonce)
        if small != 200:
            verdict.add("small_call_refused", f"status {small}")
        facts = {
            "answered": sum(line["status"] == 200 for line in told),
            "refused_402": sum(line["status"] == 402 for line in told),
            "busy_429": sum(line["status"] == 429 for line in told),
            "billed_of_limit": round(figures["most_nano"] / figures["limit_nano"], 6),
            "calls_per_s": round(sum(one["per_s"] for one in summaries)),
        }
        return Outcome(verdict, True, facts)


def _ask_small(rig: Rig) -> int:
    """A call so small that it fits into what is left, if anything is left at all; its status."""
    _, text = get(f"{rig.gateway.admin_url}/api/budgets", ADMIN_KEY)
    left = next(float(item["remaining_usd"]) for item in json.loads(text)["items"] if item["name"] == "small")
    if left < 1e-6:
        return 200
    request = urllib.request.Request(
        f"{rig.gateway.url}/v1/chat/completions",
        json.dumps(_SMALL).encode(),
        {"Authorization": f"Bearer {CALLERS[0].key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
