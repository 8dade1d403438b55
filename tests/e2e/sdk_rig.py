"""A replaying provider and a `taximeter serve` in front of it, in every dialect; and the ledger, to look at afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import ADMIN_KEY, gateway, server
from tests.support.processes import module_running
from tests.support.waiting import eventually

KEY, OTHER_KEY, POOR_KEY = "sk-team-blue-0000000001", "sk-team-green-000000001", "sk-team-poor-0000000001"
# nano-USD for one of each unit, as the operator's rows below have them.
NANO = {
    "input": 1000, "cache_read": 100, "cache_write_5m": 2000, "output": 10_000, "reasoning": 10_000,
    "image_in": 3000, "image_out": 20_000, "audio_in": 4000, "audio_second": 100_000, "character": 5000,
}  # fmt: skip
_MODELS = {
    "openai": ("gpt-4o-mini", "text-embedding-3-small", "omni-moderation-latest", "gpt-image-1", "gpt-4o-transcribe",
               "whisper-1", "tts-1", "gpt-3.5-turbo-instruct", "broken-gpt"),
    "anthropic": ("claude-sonnet-4-6", "broken-claude"),
    "google": ("gemini-2.5-flash", "gemini-embedding-001", "broken-gemini"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SdkRig:
    """Where everything is."""

    url: str
    admin_url: str
    provider_url: str

    def entries(self, session: str) -> list[dict[str, Any]]:
        """The ledger's entries of a session, as soon as there are any."""

        def look() -> list[dict[str, Any]]:
            headers = {"authorization": f"Bearer {ADMIN_KEY}"}
            answer = httpx.get(f"{self.admin_url}/api/requests", params={"session": session}, headers=headers)
            items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
            return items

        return eventually(look, bool)

    def entry(self, session: str) -> dict[str, Any]:
        (one,) = self.entries(session)
        return one

    def seen(self) -> list[dict[str, Any]]:
        """What the provider was asked, oldest first."""
        found: list[dict[str, Any]] = httpx.get(f"{self.provider_url}/_seen").json()
        return found


def cost_usd(usage: dict[str, int]) -> Decimal:
    return Decimal(sum(NANO[unit] * count for unit, count in usage.items())) / 10**9


def usage_of(entry: dict[str, Any]) -> dict[str, int]:
    return {unit: int(count) for unit, count in entry["usage"].items() if int(count)}


def _row(provider: str) -> dict[str, Any]:
    tokens = {
        unit: str(Decimal(nano) / 1000) for unit, nano in NANO.items() if unit not in ("audio_second", "character")
    }
    things = {unit: {"usd": str(Decimal(NANO[unit]) / 10**9), "per": 1} for unit in ("audio_second", "character")}
    return {"provider": provider, "model": "*", **tokens, **things}


def _config(folder: Path, provider_url: str) -> dict[str, Any]:
    def upstream(provider: str, suffix: str) -> dict[str, Any]:
        return {"base_url": provider_url + suffix, "api_key": f"sk-real-{provider}", "provider": provider}

    return {
        "server": server(),
        "upstreams": {
            "openai": upstream("openai", "/v1"),
            "anthropic": upstream("anthropic", ""),
            "google": upstream("google", ""),
        },
        "models": {
            model: {"upstream": name, "context_tokens": 32_000, "max_output_tokens": 8000}
            for name, models in _MODELS.items()
            for model in models
        },
        "prices": [_row(provider) for provider in _MODELS],
        "keys": [
            {"name": "blue", "key": KEY, "team": "blue"},
            {"name": "green", "key": OTHER_KEY, "team": "green"},
            {"name": "poor", "key": POOR_KEY, "team": "poor"},
        ],
        "budgets": [
            {"name": "all", "limit_usd": 1000, "window": "total"},
            {"name": "poor", "match": {"team": "poor"}, "limit_usd": "0.0001", "window": "day"},
        ],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }


@contextlib.contextmanager
def running(folder: Path) -> Iterator[SdkRig]:
    """Both processes, until the end of the block."""
    with module_running(folder, "tests.support.replay") as port:
        provider_url = f"http://127.0.0.1:{port}"
        with gateway(folder, _config(folder, provider_url)) as made:
            yield SdkRig(made.url, made.admin_url, provider_url)
