"""Gemini's explicit caches through the real SDK: their tokens once and their storage until they end, to the provider's bill."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.processes import module_running
from tests.support.waiting import eventually

KEY, OTHER_KEY, POOR_KEY = "sk-team-blue-0000000001", "sk-team-green-000000001", "sk-team-poor-0000000001"
MODEL = "gemini-2.5-flash"


@dataclass(frozen=True, slots=True)
class Rig:
    gateway: Gateway
    provider_url: str

    def entries(self, session: str, operation: str = "cache") -> list[dict[str, Any]]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        answer = httpx.get(f"{self.gateway.admin_url}/api/requests", params={"session": session}, headers=headers)
        return [one for one in answer.raise_for_status().json()["items"] if one["operation"] == operation]

    def settled(self, session: str, number: int = 1) -> list[dict[str, Any]]:
        """The session's caches, the first begun first, as soon as so many have ended."""
        found = eventually(
            lambda: self.entries(session),
            lambda items: len(items) >= number and all(item["status"] == "settled" for item in items),
        )
        return sorted(found, key=lambda item: str(item["id"]))

    def billed(self, label: str) -> dict[str, Decimal]:
        bill = httpx.get(f"{self.provider_url}/bill").json()[label]
        return {name: Decimal(value) for name, value in bill.items()}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("caches")
    with module_running(folder, "tests.support.gemini_caches") as port:
        url = f"http://127.0.0.1:{port}"
        config: dict[str, Any] = {
            "server": server(),
            "upstreams": {"google": {"base_url": url, "api_key": "sk-real-google"}},
            "models": {MODEL: {"upstream": "google"}, "gemini-embedding-001": {"upstream": "google"}},
            "keys": [
                {"name": "blue", "key": KEY, "team": "blue"},
                {"name": "green", "key": OTHER_KEY, "team": "green"},
                {"name": "poor", "key": POOR_KEY, "team": "poor"},
            ],
            "budgets": [
                {"name": "all", "limit_usd": 1000, "window": "total"},
                {"name": "poor", "match": {"team": "poor"}, "limit_usd": "0.02", "window": "total"},
            ],
            "jobs": {"poll_s": 0.5},
            "ledger": f"sqlite:///{folder / 'ledger.db'}",
            "data_dir": str(folder / "data"),
        }
        with gateway(folder, config) as made:
            yield Rig(made, url)


def sdk(rig: Rig, key: str = KEY, session: str = "") -> Any:
    headers = {"x-taximeter-session-id": session} if session else {}
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=rig.gateway.url, headers=headers))


def create(client: Any, label: str, ttl: str | None = "300s", orders: str = "tokens=20000", **more: Any) -> Any:
    asked = {"contents": [orders], "display_name": label, **({"ttl": ttl} if ttl else {}), **more}
    return client.caches.create(model=MODEL, config=types.CreateCachedContentConfig(**asked))


def test_a_cache_costs_its_tokens_and_their_storage_until_it_expires(rig: Rig) -> None:
    made = create(sdk(rig, session="c-1"), "expires", ttl="1s", orders="tokens=400000")
    assert made.usage_metadata.total_token_count == 400000
    (entry,) = eventually(lambda: rig.entries("c-1"), bool)
    assert Decimal(entry["reserved_usd"]) > 0
    (entry,) = rig.settled("c-1")
    assert Decimal(entry["cost_usd"]) == rig.billed("expires")["usd"].quantize(Decimal("1e-9"))
    assert (entry["outcome"], entry["model"]) == ("ok", MODEL)
    assert entry["usage"]["input"] == 400000


def test_what_is_deleted_before_its_time_is_stored_no_longer(rig: Rig) -> None:
    client = sdk(rig, session="c-2")
    made = create(client, "deleted", ttl="864000s", orders="tokens=900000 " + "x" * 1_000_000)
    (running,) = eventually(lambda: rig.entries("c-2"), bool)
    assert (running["status"], running["cost_usd"]) == ("running", None)
    assert Decimal(running["reserved_usd"]) > 240 * rig.billed("deleted")["stored_usd_an_hour"]
    client.caches.delete(name=made.name)
    (entry,) = rig.settled("c-2")
    bill = rig.billed("deleted")
    assert abs(Decimal(entry["cost_usd"]) - bill["usd"]) < bill["stored_usd_an_hour"] / 3600
    with pytest.raises(errors.ClientError):
        client.caches.get(name=made.name)


def test_each_update_is_an_entry_of_its_own_and_all_add_up_to_the_bill(rig: Rig) -> None:
    client = sdk(rig, session="c-3")
    made = create(client, "updated", ttl="3600s", orders="tokens=500000")
    for ttl in ("7200s", "1800s"):
        client.caches.update(name=made.name, config=types.UpdateCachedContentConfig(ttl=ttl))
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    client.caches.update(name=made.name, config=types.UpdateCachedContentConfig(expire_time=soon))
    entries = rig.settled("c-3", 4)
    assert [entry["usage"].get("input", 0) for entry in entries] == [500000, 0, 0, 0]
    # each is rounded to the nano-dollar by itself
    assert abs(sum(Decimal(entry["cost_usd"]) for entry in entries) - rig.billed("updated")["usd"]) <= Decimal("4e-9")
    for entry, hours in zip(entries[1:3], (2, Decimal("0.5")), strict=True):
        assert Decimal(entry["reserved_usd"]) == hours * rig.billed("updated")["stored_usd_an_hour"]


def test_a_cache_is_its_teams_own_wherever_it_is_named(rig: Rig) -> None:
    client, others = sdk(rig, session="c-4"), sdk(rig, OTHER_KEY)
    made = create(client, "own")
    config = types.GenerateContentConfig(cached_content=made.name, max_output_tokens=20)
    for call in (
        lambda: others.caches.get(name=made.name), lambda: others.caches.delete(name=made.name),
        lambda: others.caches.update(name=made.name, config=types.UpdateCachedContentConfig(ttl="60s")),
        lambda: others.models.generate_content(model=MODEL, contents="hi", config=config),
    ):  # fmt: skip
        with pytest.raises(errors.ClientError) as refused:
            call()
        assert refused.value.code == 404
    assert made.name in [one.name for one in client.caches.list()]
    assert [one.name for one in others.caches.list()] == []
    assert client.caches.get(name=made.name).display_name == "own"


def test_a_call_that_reads_a_cache_is_bounded_by_its_size(rig: Rig) -> None:
    client = sdk(rig, session="c-5")
    made = create(client, "read", orders="tokens=30000")
    config = types.GenerateContentConfig(cached_content=made.name, max_output_tokens=20)
    client.models.generate_content(model=MODEL, contents="hi", config=config)
    (entry,) = eventually(lambda: rig.entries("c-5", "generate"), bool)
    assert (entry["usage"]["cache_read"], entry["usage"]["input"]) == (30000, 10)
    assert (
        Decimal(entry["cost_usd"]) == (30000 * Decimal("0.03") + 10 * Decimal("0.3") + 4 * Decimal("2.5")) / 1_000_000
    )
    # at the price of audio, which a cache may hold; a million tokens of context would be twenty times as much
    assert Decimal(entry["cost_usd"]) < Decimal(entry["reserved_usd"]) < Decimal("0.04")


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("cachedContents", {"ttl": "5m"}, 400),
        ("cachedContents", {"ttl": "-5s"}, 400),
        ("cachedContents", {"ttl": "99999999s"}, 400),
        ("cachedContents", {"ttl": 300}, 400),
        ("cachedContents", {"ttl": "300s", "expireTime": "2027-01-01T00:00:00Z"}, 400),
        ("cachedContents", {"expireTime": "2027-01-01T00:00:00"}, 400),
        ("cachedContents", {"TTL": "300s"}, 400),
        ("cachedContents", {"name": "cachedContents/mine"}, 400),
        ("cachedContents", {"contents": None}, 400),
        ("cachedContents", {"model": None}, 400),
        ("cachedContents", {"model": "models/nobody-has-this"}, 404),
        ("cachedContents", {"tools": [{"googleSearch": {}}]}, 400),
        ("cachedContents", {"tools": [{"functionDeclarations": [], "google_search": {}}]}, 400),
        ("cachedContents", {"contents": [{"parts": [{"fileData": {"fileUri": "files/a"}}]}]}, 404),
        ("cachedContents", {"model": "models/gemini-embedding-001"}, 402),
        ("cachedContents/..%2fx", {}, 404),
        ("cachedContents/a/b", {}, 404),
    ],
)
def test_what_has_no_bound_or_is_not_the_callers_is_refused(
    rig: Rig, path: str, fields: dict[str, Any], status: int
) -> None:
    body = {"model": f"models/{MODEL}", "contents": [{"parts": [{"text": "hi"}]}], **fields}
    headers = {"x-goog-api-key": KEY, "x-taximeter-session-id": "hostile"}
    answer = httpx.post(f"{rig.gateway.url}/v1beta/{path}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["status"]
    assert rig.entries("hostile") == []


def test_storage_that_a_budget_does_not_afford_is_not_begun(rig: Rig) -> None:
    client = sdk(rig, POOR_KEY, session="poor")
    with pytest.raises(errors.ClientError) as refused:
        create(client, "poor", ttl="86400s", orders="tokens=1000 " + "x" * 20_000)
    assert refused.value.code == 402
    assert rig.entries("poor") == []
    made = create(client, "poor", ttl="60s", orders="tokens=1000 " + "x" * 20_000)
    with pytest.raises(errors.ClientError) as refused:  # what it would be kept for from now on
        client.caches.update(name=made.name, config=types.UpdateCachedContentConfig(ttl="2000000s"))
    assert refused.value.code == 402
    client.caches.delete(name=made.name)
    (entry,) = rig.settled("poor")
    assert Decimal(entry["cost_usd"]) < Decimal("0.001")


def test_what_the_provider_refuses_costs_nothing(rig: Rig) -> None:
    with pytest.raises(errors.ClientError):
        create(sdk(rig, session="broken"), "broken", orders="answer=broken")
    (entry,) = rig.settled("broken")
    assert (entry["outcome"], Decimal(entry["cost_usd"])) == ("upstream_error", 0)


def test_a_cache_of_unknown_size_is_charged_at_its_ceiling(rig: Rig) -> None:
    client = sdk(rig, session="silent")
    made = create(client, "silent", orders="answer=silent")
    client.caches.delete(name=made.name)
    (entry,) = eventually(
        lambda: rig.entries("silent"), lambda items: [one["status"] for one in items] == ["unconfirmed"]
    )
    assert Decimal(entry["cost_usd"]) == Decimal(entry["reserved_usd"]) > 0


def test_nothing_differs_when_all_have_ended(rig: Rig) -> None:
    client = sdk(rig)
    for cache in client.caches.list():
        client.caches.delete(name=cache.name)
    assert rig.gateway.verified()["first_difference"] is None
