"""Everything that a data plane has at hand while it serves: one object, made once, its tables replaced at reload."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pricing.book import Book
from proxy import meters
from proxy.access.keys import KeyRing
from proxy.access.routes import Router
from proxy.access.stored_owners import Held
from proxy.budgets.budget import Amounts, BudgetIndex, claims
from proxy.budgets.guards import Guards
from proxy.budgets.memory import MemoryStore
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Standing, StoreUnavailable
from proxy.ceilings.learned import Learned
from proxy.ceilings.prefixes import CountedPrefixes
from proxy.config.model import Config
from proxy.downstream.load import Load
from proxy.ids import Ids
from proxy.keyed_hash import KeyedHash
from proxy.meters.reader import Reader
from proxy.sessions.chains import Chains
from proxy.sessions.trees import SessionTrees
from proxy.spool.writer import SpoolWriter
from proxy.times import now_s
from proxy.upstream.connect import Origin, origin_of
from proxy.upstream.pool import UpstreamClient

_MAX_SESSIONS = 100_000
_MAX_FACTS = 10_000
USER_AGENT = b"taximeter/0.1"


# Sessions' names, or digests of stored things, in; what the ledger has of them out (`session_queries.recalled`,
# `stored.find_stored`); None where it does not answer.
Recall = Callable[[Sequence[str]], Awaitable[Sequence[Mapping[str, Any]] | None]]


@dataclass(frozen=True, slots=True)
class Destination:
    """One upstream in one dialect family: the connection pool's name, where it is, and the fixed part of its heads."""

    pool: str
    origin: Origin
    fixed: bytes
    bills_after_disconnect: bool
    first_byte_timeout_s: float
    base_url: str
    secrets: tuple[bytes, ...] = ()

    def told(
        self, status: int, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """An answer as clients get it: an error without our own credentials, for some upstreams repeat what they got."""
        if status < 400:
            return headers, body
        return [(name, self._redacted(value)) for name, value in headers], self._redacted(body)

    def _redacted(self, data: bytes) -> bytes:
        for secret in self.secrets:
            data = data.replace(secret, b"[redacted]")
        return data


@dataclass(slots=True)
class Tally:
    """Counts of what has no INTENT, handed to the spool at most once a second."""

    refusals: dict[tuple[str, str | None], int] = field(default_factory=dict)
    would_refuse: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, budget: str | None) -> None:
        key = (reason, budget)
        self.refusals[key] = self.refusals.get(key, 0) + 1

    def would(self, budget: str) -> None:
        self.would_refuse[budget] = self.would_refuse.get(budget, 0) + 1

    def take(self, now_us: int) -> dict[str, Any] | None:
        """The `tally` record of what has come together, or None; starts again from nothing."""
        if not self.refusals and not self.would_refuse:
            return None
        record = {
            "t": "tally",
            "at": now_us,
            "refusals": [[reason, budget, count] for (reason, budget), count in self.refusals.items()],
            "would_refuse": [[budget, count] for budget, count in self.would_refuse.items()],
        }
        self.refusals, self.would_refuse = {}, {}
        return record


class SessionCosts:
    """What each session has cost so far, for the response headers: the latest sessions only."""

    def __init__(self) -> None:
        self._nanousd: OrderedDict[tuple[str | None, str], int] = OrderedDict()

    def total(self, team: str | None, session_id: str) -> int:
        return self._nanousd.get((team, session_id), 0)

    def begin(self, team: str | None, session_id: str, nanousd: int) -> None:
        """What a session had cost before its first call here; where it had one, that total stands."""
        if (team, session_id) not in self._nanousd:
            self.add(team, session_id, nanousd)

    def add(self, team: str | None, session_id: str, nanousd: int) -> int:
        """Add a cost; the session's total with it."""
        key = (team, session_id)
        total = self._nanousd.pop(key, 0) + nanousd
        self._nanousd[key] = total
        if len(self._nanousd) > _MAX_SESSIONS:
            self._nanousd.popitem(last=False)
        return total


class ModelFacts(NamedTuple):
    """A model's limits (None: unknown) and whether it has a price, good until `until_s`."""

    context_tokens: int | None
    max_output_tokens: int | None
    priced: bool
    until_s: float


@dataclass(slots=True)
class Plane:
    """The data plane's own state. `ready` is false until the budgets are seeded and while draining."""

    config: Config
    keys: KeyRing
    router: Router
    book: Book
    budgets: BudgetIndex
    store: MemoryStore | RedisStore
    spool: SpoolWriter
    upstreams: UpstreamClient
    load: Load
    destinations: Mapping[tuple[str, str], Destination]
    ids: Ids = field(default_factory=Ids)
    tally: Tally = field(default_factory=Tally)
    held: Held = field(default_factory=Held)
    recall: Recall | None = None  # asks the ledger about sessions; None: there is nobody to ask
    recall_stored: Recall | None = None  # and about what is stored at providers
    trees: SessionTrees = field(default_factory=SessionTrees)
    chains: Chains = field(default_factory=lambda: Chains(KeyedHash(secrets.token_bytes(32))))
    prefixes: CountedPrefixes = field(default_factory=lambda: CountedPrefixes(KeyedHash(secrets.token_bytes(32))))
    guards: Guards = field(default_factory=lambda: Guards(Config().guards))
    learned: Learned = field(default_factory=Learned)
    sessions: SessionCosts = field(default_factory=SessionCosts)
    readers: dict[tuple[str, str, str], Reader] = field(default_factory=dict)
    facts: dict[tuple[str, str], ModelFacts] = field(default_factory=dict)
    ready: bool = False
    unseeded: set[str] = field(
        default_factory=set
    )  # budgets that a reload brought, until the ledger says what is spent
    seeded: asyncio.Event = field(default_factory=asyncio.Event)
    calls_in_flight: int = 0
    started_at: float = field(default_factory=now_s)

    def facts_of(self, provider: str, model: str, now_s: float) -> ModelFacts:
        """What the price book says of a model, looked up again every minute."""
        key = (provider, model)
        facts = self.facts.get(key)
        if facts is None or facts.until_s <= now_s:
            if len(self.facts) >= _MAX_FACTS:
                self.facts.clear()
            limits = self.book.limits(provider, model)
            priced = self.book.is_priced(provider, model, int(now_s))
            facts = ModelFacts(limits.context_tokens, limits.max_output_tokens, priced, now_s // 60 * 60 + 60)
            self.facts[key] = facts
        return facts

    async def add_to_session(self, team: str | None, session_id: str, nanousd: int) -> None:
        """What a session has cost, over all workers where they share a store."""
        total = self.sessions.add(team, session_id, nanousd)
        if isinstance(self.store, RedisStore):
            with contextlib.suppress(StoreUnavailable):  # then this worker's part is what is told
                self.sessions.add(team, session_id, await self.store.session_cost(team, session_id, nanousd) - total)

    def standing_rows(self) -> list[dict[str, Any]]:
        """Every counter that this process has as plain values, for the control process."""
        if isinstance(self.store, RedisStore):
            return []
        return [standing._asdict() for standing in self.store.standings()]

    def fullest_rows(self, most: int, now_s: float) -> dict[str, Any]:
        """Of each budget the `most` fullest counters that this process has as `rows`, and how many there are as `counts`."""
        if isinstance(self.store, RedisStore):
            return {"rows": [], "counts": {}}
        standings, counts = self.store.fullest(most, now_s)
        return {"rows": [standing._asdict() for standing in standings], "counts": counts}

    def budget_totals(self, now_s: float) -> list[dict[str, Any]]:
        """What each budget's groups in this process come to, for the control process's gauges."""
        if isinstance(self.store, RedisStore):
            return []
        return [totals.told() for totals in self.store.totals(self.budgets.budgets, now_s)]

    async def standings_of(self, attributes: Mapping[str, str | None]) -> list[Standing]:
        """The money budgets in which every call with these attributes counts, as they stand."""
        taken = claims(self.budgets.budgets, attributes, Amounts(0, {}), now_s())
        always = [
            claim
            for budget, claim in taken
            if claim.measure == "usd" and all(attribute in attributes for attribute in budget.per)
        ]
        return list(await self.store.standings_of(always))

    def reader(self, dialect: str, provider: str, target: str) -> Reader:
        """The usage reader of a dialect at a provider."""
        key = (dialect, provider, target)
        found = self.readers.get(key)
        if found is None:
            found = self.readers[key] = meters.reader(dialect, provider, target)
        return found


def destinations_of(
    config: Config, environ: Mapping[str, str], client: UpstreamClient
) -> dict[tuple[str, str], Destination]:
    """A destination for every upstream and dialect family that it speaks; opens their (empty) pools in `client`."""
    destinations = {}
    for name, row in config.upstreams.items():
        base_urls: dict[str, str] = dict(row.base_urls.items())
        for family in row.spoken(name):
            origin = origin_of(base_urls.get(family, row.base_url), environ)
            pool = f"{name}/{family}"
            client.add(
                pool,
                origin,
                max_connections=row.max_connections,
                connect_timeout_s=row.connect_timeout_s,
                first_byte_timeout_s=row.first_byte_timeout_s,
                idle_timeout_s=row.idle_timeout_s,
                reuse_after_stream=row.bills_hung_up(name),
            )
            destinations[name, family] = Destination(
                pool=pool,
                origin=origin,
                fixed=_fixed_headers(origin, family, row.api_key, row.headers),
                bills_after_disconnect=row.bills_hung_up(name),
                first_byte_timeout_s=row.first_byte_timeout_s,
                base_url=base_urls.get(family, row.base_url),
                secrets=_secrets(row.api_key, row.headers),
            )
    return destinations


_LEAST_SECRET = 8  # characters: shorter values are words


def _secrets(api_key: str | None, headers: Mapping[str, str]) -> tuple[bytes, ...]:
    """What an upstream's answers must not tell a client, the longest first: one may hold another."""
    values = [value for value in (api_key, *headers.values()) if value]
    words = [word for value in values for word in (value, value.rpartition(" ")[2]) if len(word) >= _LEAST_SECRET]
    spellings = {form for word in words for form in (word.encode("utf-8"), word.encode("latin-1", "replace"))}
    return tuple(sorted(spellings, key=len, reverse=True))


def _fixed_headers(origin: Origin, family: str, api_key: str | None, extra: Mapping[str, str]) -> bytes:
    """The headers that every request to this destination carries, encoded once: its own credential, never a client's."""
    headers = {
        "host": origin.authority,
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": USER_AGENT.decode(),
    }
    if api_key:
        name, value = {
            "anthropic": ("x-api-key", api_key),
            "gemini": ("x-goog-api-key", api_key),
        }.get(family, ("authorization", f"Bearer {api_key}"))
        headers[name] = value
    if origin.proxy and origin.proxy.authorization and not origin.tls:
        headers["proxy-authorization"] = origin.proxy.authorization
    headers |= {name.lower(): value for name, value in extra.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
