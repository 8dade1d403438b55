"""A fake of Gemini's explicit caches, with a bill of its own: each cache's tokens once, and their storage until it ends.

A cache's size stands in its text (`tokens=20000`), and what the provider does with it: `answer=broken` refuses its creation,
`answer=silent` makes it but says nothing of its size. `GET /bill` has what each cache came to by now, by its display name:
`{"usd", "stored_usd_an_hour"}`. It shares no code with the product.
"""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from tests.support.http_server import Handler, serve_forever

USD = {"gemini-2.5-flash": (Decimal("0.30"), Decimal("1.00"), Decimal("0.03"), Decimal("2.50"))}
"""USD for a million tokens of input, of input kept for an hour, of input read from a cache, of output."""

_LOCK = threading.Lock()


class Cache:
    """One cache, and what it is billed."""

    def __init__(self, number: int, body: dict[str, Any]) -> None:
        text = json.dumps(body.get("contents"))
        self.name = f"cachedContents/cache{number:04d}"
        self.model = body["model"].removeprefix("models/")
        self.label = body.get("displayName", "")
        self.silent = "answer=silent" in text
        self.tokens = int(dict(re.findall(r"(tokens)=(\d+)", text)).get("tokens", "5000"))
        self.created = self.updated = datetime.now(UTC)
        self.expires = self.end_of(body)
        self.deleted: datetime | None = None

    def end_of(self, body: dict[str, Any]) -> datetime:
        if "expireTime" in body:
            return datetime.fromisoformat(body["expireTime"])
        return self.updated + timedelta(seconds=float(body["ttl"].removesuffix("s")))

    def there(self) -> bool:
        return self.deleted is None and datetime.now(UTC) < self.expires

    def bill(self) -> dict[str, str]:
        entry, stored, _, _ = USD[self.model]
        end = min(self.deleted or datetime.now(UTC), self.expires)
        millions = Decimal(self.tokens) / 1_000_000
        an_hour = millions * stored
        hours = Decimal(repr((end - self.created).total_seconds())) / 3600
        return {"usd": str(millions * entry + an_hour * hours), "stored_usd_an_hour": str(an_hour)}

    def said(self) -> dict[str, Any]:
        times = {"createTime": self.created, "updateTime": self.updated, "expireTime": self.expires}
        told = {name: instant.isoformat().replace("+00:00", "Z") for name, instant in times.items()}
        size = {} if self.silent else {"usageMetadata": {"totalTokenCount": self.tokens}}
        return {"name": self.name, "model": f"models/{self.model}", "displayName": self.label, **told, **size}


CACHES: dict[str, Cache] = {}


class Requests(Handler):
    def answer_request(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/v1beta/").lstrip("/")
        if path == "bill":
            self.send_json({cache.label: cache.bill() for cache in CACHES.values()})
        elif path == "cachedContents" and self.command == "POST":
            self.create(self.read_json())
        elif path == "cachedContents":
            self.send_json({"cachedContents": [cache.said() for cache in CACHES.values() if cache.there()]})
        elif path.startswith("cachedContents/"):
            self.one(CACHES.get(path))
        elif path.endswith(":generateContent"):
            self.generate(self.read_json())
        else:
            self.fail(404, "there is no such path")

    def create(self, body: dict[str, Any]) -> None:
        if "answer=broken" in json.dumps(body):
            self.fail(400, "Cached content is too small. total_token_count=3, min_total_token_count=1024")
            return
        with _LOCK:
            cache = Cache(len(CACHES) + 1, body)
            CACHES[cache.name] = cache
        self.send_json(cache.said())

    def one(self, cache: Cache | None) -> None:
        if self.headers.get("x-goog-api-key") != "sk-real-google":
            self.fail(403, "the key may not do that")
        elif cache is None or not cache.there():
            self.read_body()
            self.fail(403, "CachedContent not found (or permission denied)")
        elif self.command == "DELETE":
            cache.deleted = datetime.now(UTC)
            self.send_json({})
        elif self.command == "PATCH":
            body = self.read_json()
            cache.updated = datetime.now(UTC)
            cache.expires = cache.end_of(body)
            self.send_json(cache.said())
        else:
            self.send_json(cache.said())

    def generate(self, body: dict[str, Any]) -> None:
        cache = CACHES.get(body.get("cachedContent", ""))
        cached = cache.tokens if cache is not None and cache.there() else 0
        usage = {"promptTokenCount": cached + 10, "cachedContentTokenCount": cached, "candidatesTokenCount": 4}
        content = {"role": "model", "parts": [{"text": "ok"}]}
        usage["totalTokenCount"] = usage["promptTokenCount"] + 4
        self.send_json({"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage})

    def fail(self, status: int, message: str) -> None:
        self.send_json({"error": {"code": status, "message": message, "status": "PERMISSION_DENIED"}}, status=status)


if __name__ == "__main__":
    serve_forever(Requests)
