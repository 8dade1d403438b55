"""A real server of one's own for some minutes: what the ledger says of its calls beside what it counted itself, whose its
machine's cost was, and what batching does to it.

    python -m bench.own_server [--minutes 10] [--server vllm|llama.cpp]

vLLM is the one that `make vllm` installs. First each kind of call by itself, several times, half of the streams left in their
middle: our tokens beside its counters. Then so many calls at once, whose cost is worked out by hand from the clock on the wall.
Then traffic with pauses until the minutes are over, and the sum of all that the machine has cost.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.own_servers import Counters, LlamaCpp, OwnServer, Vllm
from tests.support.waiting import eventually

KEY = "sk-local-0000000000000001"
USD_PER_HOUR = Decimal("3.60")
CAP = 48
STORY = "Tell a very long story of a spider, with many words. " * 8
_TIMES = 4
_AT_ONCE = (1, 2, 4, 8)
_WRITTEN = 400
_PATHS = {
    "chat": "/v1/chat/completions", "completions": "/v1/completions", "responses": "/v1/responses", "messages": "/v1/messages",
}  # fmt: skip


@dataclass(slots=True)
class Rig:
    """A gateway before a server, and who calls it."""

    gateway: Gateway
    own: OwnServer
    client: httpx.Client
    calls: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(15))

    def session(self) -> str:
        self.calls += 1
        return f"run-{self.calls}"

    def api(self, path: str, **params: str) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        answer = self.client.get(f"{self.gateway.admin_url}{path}", params=params, headers=headers)
        return answer.raise_for_status().json()

    def entry(self, session: str) -> dict[str, Any]:
        """Of a call, when it is in the ledger."""
        items: list[dict[str, Any]] = eventually(lambda: self.api("/api/requests", session=session)["items"], bool, 60)
        return items[0]

    def settled(self, before: Counters) -> Counters:
        """What it has counted since, when it counts no more."""

        def ask() -> tuple[Counters, bool]:
            now = self.own.counters()
            time.sleep(0.3)
            return now - before, not self.own.busy() and now == self.own.counters()

        return eventually(ask, lambda seen: seen[1], 60)[0]

    def call(self, kind: str, text: str, *, leave_after: int | None = None, **fields: Any) -> str:
        """Its session, when it has ended: read to its end, or left after so many events."""
        session = self.session()
        headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
        body = {"model": self.own.model, **_body(kind, text), **fields}
        url = self.gateway.url + _PATHS[kind]
        with self.client.stream("POST", url, json=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise SystemExit(f"{kind}: {answer.status_code} {answer.read().decode()[:300]}")
            for line in answer.iter_lines():
                if leave_after is not None and line.startswith("data:"):
                    leave_after -= 1
                    if leave_after <= 0:
                        break
        return session


def _body(kind: str, text: str) -> dict[str, Any]:
    if kind == "completions":
        return {"prompt": text, "max_tokens": CAP}
    if kind == "responses":
        return {"input": text, "max_output_tokens": CAP}
    return {"messages": [{"role": "user", "content": text}], "max_tokens": CAP}


def used(entries: list[dict[str, Any]]) -> Counters:
    """Tokens of entries, as a server counts them."""
    sums = Counters(0, 0, 0)
    for entry in entries:
        usage = {unit: int(count) for unit, count in entry["usage"].items()}
        fresh = sum(count for unit, count in usage.items() if unit == "input" or unit.startswith("cache_write"))
        sums = sums - Counters(-fresh, -usage.get("cache_read", 0), -usage.get("output", 0))
    return sums


# The table of kinds


def kinds(rig: Rig) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Each kind of call: its name, and what makes some (their sessions)."""
    for kind in _PATHS:
        yield f"{kind}, whole", lambda kind=kind: [rig.call(kind, f"{n} {STORY}") for n in range(_TIMES)]
        yield (
            f"{kind}, stream",
            lambda kind=kind: [rig.call(kind, f"{n} {STORY}", stream=True) for n in range(10, 10 + _TIMES)],
        )
        yield (
            f"{kind}, stream left",
            lambda kind=kind: [
                rig.call(kind, f"{n} {STORY}", stream=True, leave_after=9) for n in range(20, 20 + _TIMES)
            ],
        )
    long = STORY * 3
    yield "chat, the same prompt again", lambda: [rig.call("chat", long) for _ in range(_TIMES)]
    yield "chat, four at once", lambda: at_once(rig, _TIMES, stream=True)
    yield "chat, four at once, two left", lambda: at_once(rig, _TIMES, stream=True, some_leave=True)
    if rig.own.provider == "vllm":
        yield "chat, n = 2", lambda: [rig.call("chat", f"{n} two {STORY}", n=2) for n in range(_TIMES)]


def at_once(rig: Rig, calls: int, *, some_leave: bool = False, **fields: Any) -> list[str]:
    def one(number: int) -> str:
        leaves = 4 if some_leave and number % 2 else None
        return rig.call("chat", f"{rig.chance.random()} {STORY}", leave_after=leaves, **fields)

    with ThreadPoolExecutor(calls) as pool:
        return list(pool.map(one, range(calls)))


def show_kinds(rig: Rig) -> None:
    print(
        f"\n| {rig.own.provider}: kind of call | calls | ours: in, cached, out | its own | out, difference | source |"
    )
    print("|---|---:|---:|---:|---:|---|")
    for name, make in kinds(rig):
        before = rig.own.counters()
        entries = [rig.entry(session) for session in make()]
        ours, its = used(entries), rig.settled(before)
        sources = ", ".join(sorted({entry["usage_source"] for entry in entries}))
        told = [f"{c.prompt:,}, {c.cached:,}, {c.predicted:,}" for c in (ours, its)]
        print(
            f"| {name} | {len(entries)} | {told[0]} | {told[1]} | {ours.predicted - its.predicted:+d} | {sources} |",
            flush=True,
        )


# Batching


def levels(rig: Rig) -> dict[int, dict[str, Any]]:
    shown = rig.api("/api/capacity/machine")["levers"]["batching"]
    return {level["calls_at_once"]: level for level in shown}


def show_batching(rig: Rig) -> None:
    """So many calls at once, in several rounds. By hand: the rounds' time on the wall, at the machine's price, by their output."""
    print(
        "\n| at once | `capacity`: $/M output | seconds, tokens | by hand: $/M output | seconds, tokens | ours ÷ hand |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for calls in _AT_ONCE:
        before, wall, tokens = levels(rig).get(calls, {}), 0.0, 0
        for _ in range(3):
            began = time.monotonic()
            sessions = at_once(rig, calls, max_tokens=_WRITTEN)
            wall += time.monotonic() - began
            tokens += used([rig.entry(session) for session in sessions]).predicted
        after = levels(rig).get(calls)
        if after is None:
            print(f"| {calls} | never so many | – | – | {wall:.2f} s, {tokens:,} | – |")
            continue
        seconds = after["seconds"] - before.get("seconds", 0.0)
        written = after["output_tokens"] - before.get("output_tokens", 0)
        usd = Decimal(after["usd"]) - Decimal(before.get("usd", "0"))
        ours = usd * 10**6 / max(1, written)
        by_hand = Decimal(wall) * USD_PER_HOUR / 3600 * 10**6 / max(1, tokens)
        print(
            f"| {calls} | {ours:.2f} | {seconds:.2f} s, {written:,} | {by_hand:.2f} | {wall:.2f} s, {tokens:,}"
            f" | {ours / by_hand:.2f} |",
            flush=True,
        )


# The sum


def keep_busy(rig: Rig, until: float) -> None:
    """Traffic of all kinds, with pauses."""
    while time.monotonic() < until:
        kind, chance = rig.chance.choice(list(_PATHS)), rig.chance
        if chance.random() < 0.3:
            at_once(rig, chance.randrange(2, 6), stream=True, some_leave=chance.random() < 0.5)
        else:
            leaves = chance.randrange(1, 20) if chance.random() < 0.3 else None
            rig.call(kind, f"{chance.random()} {STORY}", stream=leaves is not None, leave_after=leaves)
        time.sleep(min(chance.expovariate(0.2), max(0.0, until - time.monotonic())))


def show_sum(rig: Rig) -> None:
    def closed() -> dict[str, Any]:
        shown: dict[str, Any] = rig.api("/api/capacity/machine", by="session")
        return shown

    shown = closed()
    parts = {name: Decimal(shown[f"{name}_usd"]) for name in ("busy", "idle", "outside")}
    shares = sum(Decimal(group["capacity_usd"]) for group in shown["groups"])
    print(
        f"\n{shown['since']} to {shown['until']}, {shown['requests']} calls, busy {shown['busy_ratio']:.1%} of the time"
    )
    print(f"shares of {len(shown['groups'])} sessions  ${shares}")
    for name, usd in parts.items():
        print(f"{name:<9} ${usd}")
    print(
        f"cost      ${shown['cost_usd']}; busy + idle + outside - cost: ${sum(parts.values()) - Decimal(shown['cost_usd']):.9f}"
    )
    print(f"shares - busy: ${shares - parts['busy']:.9f}; weights {shown['weights']}; server {shown['server']}")
    told = sum(shown["usage"].values())
    counted = (shown["server"]["prompt_tokens"] or 0) + (shown["server"]["output_tokens"] or 0)
    print(f"tokens: ours {told:,}, its own {counted:,}")


def config(folder: Path, own: OwnServer) -> dict[str, Any]:
    return {
        "upstreams": {"own": {"base_url": own.base_url, "api_key": own.api_key, "provider": own.provider}},
        "models": {own.model: {"upstream": "own"}},
        "prices": [{"provider": own.provider, "model": "*", "input": "0.1", "cache_read": "0.01", "output": "0.4"}],
        "capacity": [
            {
                "name": "machine", "upstreams": ["own"], "usd_per_hour": str(USD_PER_HOUR), "metrics_url": own.metrics_url,
                "metrics_key": own.api_key, "compare": ["openai/gpt-5-mini"],
            },
        ],
        "server": server(),
        "keys": [{"name": "me", "key": KEY}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--server", choices=["vllm", "llama.cpp"], default="vllm")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        own: OwnServer = Vllm(folder, "--enable-prompt-tokens-details") if asked.server == "vllm" else LlamaCpp(folder)
        try:
            with gateway(folder, config(folder, own)) as running, httpx.Client(timeout=120) as client:
                rig = Rig(running, own, client)
                for kind in _PATHS:  # it knows the server's pace from then on
                    rig.call(kind, "One, two, three,")
                until = time.monotonic() + asked.minutes * 60
                show_kinds(rig)
                show_batching(rig)
                keep_busy(rig, until)
                show_sum(rig)
        finally:
            own.stop()


if __name__ == "__main__":
    main()
