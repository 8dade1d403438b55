"""The fake provider of jobs and a `taximeter serve` in front of it; the bill and the ledger, to compare afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.billed_rig import BilledJobs, billed
from tests.support.gateway import server

KEY, OTHER_KEY, POOR_KEY = "sk-team-blue-0000000001", "sk-team-green-000000001", "sk-team-poor-0000000001"
TRIAL_KEY = "sk-labelled-trial-00001"


@dataclass(frozen=True, slots=True)
class JobsRig(BilledJobs):
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
    with billed(folder, "tests.torture.jobs_provider", lambda url: config(folder, url, **changes)) as made:
        yield JobsRig(*made)
