"""The fake vendors of media and a `taximeter serve` in front of them; the bill and the ledger, to compare afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.support.billed_rig import BilledJobs, billed
from tests.support.gateway import server

KEY, OTHER_KEY, POOR_KEY = "sk-team-blue-0000000001", "sk-team-green-000000001", "sk-team-poor-0000000001"
LONE_KEY = "sk-team-lone-0000000001"
VERSION = "a" * 64


@dataclass(frozen=True, slots=True)
class MediaRig(BilledJobs):
    def cost(self, nonce: str) -> Decimal:
        """The cost of the one entry of the session of that name; it has to be what its vendor bills."""
        (entry,) = self.settled(nonce)
        assert Decimal(entry["cost_usd"]) == self.billed()[nonce], entry
        return Decimal(entry["cost_usd"])

    def seen(self) -> list[dict[str, Any]]:
        """The requests that the vendors got."""
        found: list[dict[str, Any]] = httpx.get(f"{self.provider_url}/seen").json()["seen"]
        return found

    def leaks(self) -> list[str]:
        """Credentials that a vendor got and that are not its own."""
        found: list[str] = httpx.get(f"{self.provider_url}/seen").json()["leaks"]
        return found


def config(folder: Path, vendors_url: str, **changes: Any) -> dict[str, Any]:
    models = {
        "replicate": (
            "black-forest-labs/flux-schnell", "acme/upscaler", "acme/film", "meta/llama-3-8b-instruct", "openai/gpt-5-nano", "acme/unpriced",
            "deployments/acme/mine", VERSION,
        ),
        "fal": ("fal-ai/flux/schnell", "acme/pixels", "acme/film/pro", "acme/per-call"),
        "luma": ("ray-2", "photon-1", "ray-2/modify", "upscale", "audio"),
        "luma-agents": ("uni-1", "uni-1-max", "ray-3.2"),
    }  # fmt: skip
    each = {"per": 1}
    hardware = {"acme/by-hardware": {"upstream": "replicate", "hardware": "gpu-t4"}}
    return {
        "server": server(),
        "upstreams": {
            "replicate": {"base_url": f"{vendors_url}/replicate", "api_key": "r8-real-replicate"},
            "fal": {"base_url": f"{vendors_url}/fal", "base_urls": {"fal_run": f"{vendors_url}/fal/run"},
                    "api_key": "fal-real-0001:secret"},
            "luma": {"base_url": f"{vendors_url}/luma/dream-machine/v1", "api_key": "luma-real-0001"},
            "luma-agents": {"provider": "luma", "base_url": f"{vendors_url}/luma", "api_key": "luma-real-0001"},
        },
        "models": {name: {"upstream": upstream} for upstream, names in models.items() for name in names} | hardware,
        "prices": [
            {"provider": "replicate", "model": "acme/upscaler", "gpu_second": {"usd": "0.000975"} | each},
            {"provider": "replicate", "model": VERSION, "gpu_second": {"usd": "0.0014"} | each},
            {"provider": "replicate", "model": "deployments/acme/mine", "gpu_second": {"usd": "0.001525"} | each},
            {"provider": "replicate", "model": "acme/film", "video_second": {"usd": "0.5"} | each},
            {"provider": "fal", "model": "acme/pixels", "megapixel": {"usd": "0.025"} | each},
            {"provider": "fal", "model": "acme/film/pro", "video_second": {"usd": "0.5"} | each},
            {"provider": "fal", "model": "acme/per-call", "request": {"usd": "0.2"} | each},
            {"provider": "luma", "model": "ray-3.2", "video_second": {"usd": "0.20"} | each},
            *({"provider": "luma", "model": name, "request": {"usd": "0.25"} | each}
              for name in ("ray-2/modify", "upscale", "audio")),
        ],
        "keys": [
            {"name": "blue", "key": KEY, "team": "blue"},
            {"name": "green", "key": OTHER_KEY, "team": "green"},
            {"name": "poor", "key": POOR_KEY, "team": "poor"},
            {"name": "lone", "key": LONE_KEY, "team": "lone"},
        ],
        "budgets": [
            {"name": "all", "limit_usd": 1000, "window": "total"},
            {"name": "poor", "match": {"team": "poor"}, "limit_usd": "1", "window": "total"},
        ],
        "jobs": {"poll_s": 0.5, "recheck_s": 1},
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    } | changes  # fmt: skip


@contextlib.contextmanager
def running(folder: Path, **changes: Any) -> Iterator[MediaRig]:
    with billed(folder, "tests.support.media_vendors", lambda url: config(folder, url, **changes)) as made:
        yield MediaRig(*made)
