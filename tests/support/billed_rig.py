"""What rigs of a fake provider with a bill and a `taximeter serve` in front of it have in common: both, to compare afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import ADMIN_KEY, Gateway, gateway
from tests.support.processes import module_running
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class BilledRig:
    gateway: Gateway
    provider_url: str
    bill: Path

    @property
    def url(self) -> str:
        return self.gateway.url

    def get(self, path: str, **params: str) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.get(self.gateway.admin_url + path, params=params, headers=headers).raise_for_status().json()

    def lines(self) -> list[dict[str, Any]]:
        """The bill, a line each."""
        return [json.loads(line) for line in self.bill.read_text().splitlines()] if self.bill.exists() else []


@dataclass(frozen=True, slots=True)
class BilledJobs(BilledRig):
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
        return {row["nonce"]: Decimal(row["usd"]) for row in self.lines()}


@contextlib.contextmanager
def billed(folder: Path, module: str, config: Callable[[str], dict[str, Any]]) -> Iterator[tuple[Gateway, str, Path]]:
    """The provider, a module, and a gateway in front of it; config: by the provider's URL. Yields what a rig is made of."""
    bill = folder / "bill.jsonl"
    with module_running(folder, module, "--bill", str(bill)) as port:
        provider_url = f"http://127.0.0.1:{port}"
        with gateway(folder, config(provider_url)) as made:
            yield made, provider_url, bill
