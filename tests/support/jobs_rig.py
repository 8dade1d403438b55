"""The fake provider of jobs and a `taximeter serve` in front of it; the bill and the ledger, to compare afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.processes import module_running
from tests.support.waiting import eventually

KEY, OTHER_KEY, POOR_KEY = "sk-team-blue-0000000001", "sk-team-green-000000001", "sk-team-poor-0000000001"
TRIAL_KEY = "sk-labelled-trial-00001"


@dataclass(frozen=True, slots=True)
class JobsRig:
    gateway: Gateway
    provider_url: str
    bill: Path

    @property
    def url(self) -> str:
        return self.gateway.url

    def get(self, path: str, **params: str) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.get(self.gateway.admin_url + path, params=params, headers=headers).raise_for_status().json()

    def entries(self, **params: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/requests", **params)["items"]
        return found

    def settled(self, session: str, number: int = 1) -> list[dict[str, Any]]:
        """The session's entries, as soon as so many have ended."""
        return eventually(
            lambda: self.entries(session=session),
            lambda items: len(items) >= number and all(item["status"] != "running" for item in items),
        )

    def billed(self) -> dict[str, Decimal]:
        """What the provider bills, by nonce: its last word on each."""
        rows = [json.loads(line) for line in self.bill.read_text().splitlines()]
        return {row["nonce"]: Decimal(row["usd"]) for row in rows}

    def asked(self) -> dict[str, int]:
        """How often the provider was asked for what."""
        found: dict[str, int] = httpx.get(f"{self.provider_url}/v1/requests").json()
        return found


def config(folder: Path, provider_url: str, **changes: Any) -> dict[str, Any]:
    return {
        "server": server(),
        "upstreams": {
            "openai": {"base_url": f"{provider_url}/v1", "api_key": "sk-real-openai"},
            "anthropic": {"base_url": provider_url, "api_key": "sk-real-anthropic"},
            "google": {"base_url": provider_url, "api_key": "sk-real-google"},
        },
        "models": {name: {"upstream": "openai"} for name in ("film-1", "film-2", "gpt-5", "gpt-5-mini")}
        | {"claude-haiku-4-5": {"upstream": "anthropic"}, "fast": {"upstream": "openai", "model": "gpt-5-mini"}}
        | {name: {"upstream": "google"} for name in ("veo-3.0-generate-001", "gemini-2.5-flash")},
        "prices": [
            {"provider": "openai", "model": "film-1", "video_second": {"usd": "0.50", "per": 1}},
            {"provider": "openai", "model": "film-2", "video_second": {"usd": "0.125", "per": 1}},
        ],
        "keys": [
            {"name": "blue", "key": KEY, "team": "blue"},
            {"name": "green", "key": OTHER_KEY, "team": "green"},
            {"name": "poor", "key": POOR_KEY, "team": "poor"},
            {"name": "trial", "key": TRIAL_KEY, "labels": {"plan": "trial"}},
        ],
        "budgets": [
            {"name": "all", "limit_usd": 1000, "window": "total"},
            {"name": "poor", "match": {"team": "poor"}, "limit_usd": "1", "window": "total"},
            {"name": "trials", "match": {"label.plan": "trial"}, "limit_usd": "1", "window": "total"},
        ],
        "jobs": {"poll_s": 0.5, "recheck_s": 1},
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    } | changes


@contextlib.contextmanager
def running(folder: Path, **changes: Any) -> Iterator[JobsRig]:
    bill = folder / "bill.jsonl"
    with module_running(folder, "tests.torture.jobs_provider", "--bill", str(bill)) as port:
        provider_url = f"http://127.0.0.1:{port}"
        with gateway(folder, config(folder, provider_url, **changes)) as made:
            yield JobsRig(made, provider_url, bill)
