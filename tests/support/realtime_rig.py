"""The fake provider of spoken sessions and a `taximeter serve` in front of it; the bill and the ledger, to compare afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.support.billed_rig import BilledRig, billed
from tests.support.gateway import server
from tests.support.waiting import eventually

KEY, OTHER_KEY, POOR_KEY, BROKE_KEY = (f"sk-team-{name}-0000000001" for name in ("blue", "green", "poor", "broke"))


@dataclass(frozen=True, slots=True)
class RealtimeRig(BilledRig):
    def entries(self, session: str) -> list[dict[str, Any]]:
        """All of a session's, the first first."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get("/api/requests", session=session, limit="200", **cursor)
            items += page["items"]
            if not page.get("next"):
                return items[::-1]
            cursor = {"next": page["next"]}

    def ended(self, session: str, number: int) -> list[dict[str, Any]]:
        """The session's entries, as soon as there are so many."""
        return eventually(lambda: self.entries(session), lambda items: len(items) >= number)

    def reserved(self) -> Decimal:
        """What is held in all budgets together."""
        return sum((Decimal(one["reserved_usd"]) for one in self.get("/api/budgets")["items"]), Decimal(0))


def nanousd(lines: list[dict[str, Any]]) -> int:
    """What these lines of the bill come to, each rounded by itself, as each is an entry."""
    return sum(round(Fraction(line["usd"]) * 10**9) for line in lines)


def spent(entries: list[dict[str, Any]]) -> int:
    return sum(int(Decimal(entry["cost_usd"]) * 10**9) for entry in entries)


def config(folder: Path, provider_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "server": server(),
        "upstreams": {
            "openai": {"base_url": f"{provider_url}/v1", "api_key": "sk-real-openai"},
            "google": {"base_url": provider_url, "api_key": "sk-real-google"},
        },
        "models": {name: {"upstream": "openai"} for name in ("gpt-realtime", "gpt-realtime-mini", "gpt-4o-mini-transcribe")}
        | {"voice": {"upstream": "openai", "model": "gpt-realtime"}}
        | {"gemini-live-2.5-flash": {"upstream": "google"}, "speaker": {"upstream": "google", "model": "gemini-live-2.5-flash"}},
        "keys": [
            {"name": "blue", "key": KEY, "team": "blue"},
            {"name": "green", "key": OTHER_KEY, "team": "green", "models": ["gpt-realtime-mini"]},
            {"name": "poor", "key": POOR_KEY, "team": "poor"},
            {"name": "broke", "key": BROKE_KEY, "team": "broke"},
        ],
        "budgets": [
            {"name": "all", "limit_usd": 1000, "window": "total"},
            {"name": "poor", "match": {"team": "poor"}, "limit_usd": "0.40", "window": "total"},
            {"name": "broke", "match": {"team": "broke"}, "limit_usd": "0.01", "window": "total"},
        ],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    } | changes  # fmt: skip


@contextlib.contextmanager
def running(folder: Path, **changes: Any) -> Iterator[RealtimeRig]:
    with billed(folder, "tests.support.realtime_provider", lambda url: config(folder, url, **changes)) as made:
        yield RealtimeRig(*made)
