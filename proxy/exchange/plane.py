"""What a data plane has at hand while it serves, whatever its configuration says: one object, made once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from pricing.values import slotted
from proxy import meters
from proxy.access.keys import KeyRing
from proxy.access.stored_owners import StoredOwners
from proxy.bounded_table import BoundedTable
from proxy.budgets.budget import Amounts, claims
from proxy.budgets.guards import Guards
from proxy.budgets.store import Standing, Store, StoreUnavailable
from proxy.ceilings.learned import Learned
from proxy.ceilings.prefixes import CountedPrefixes
from proxy.config.model import Config
from proxy.downstream.load import Load
from proxy.exchange.configured import Configured
from proxy.exchange.jobs.known import KnownJobs
from proxy.ids import Ids
from proxy.meters.reader import Reader
from proxy.sessions.chains import Chains
from proxy.sessions.costs import SessionCosts
from proxy.sessions.keyed_hash import KeyedHash
from proxy.sessions.trees import SessionTrees
from proxy.spool.tally import Tally
from proxy.spool.writer import SpoolWriter
from proxy.times import now_s

_MAX_READERS = 1000  # a target may hold an id, so there is no end of them

# Sessions' names, or digests of stored things, in; what the ledger has of them out (`reports.one_session.recalled`,
# `ledger.beside.stored.find_stored`); None where it does not answer.
Recall = Callable[[Sequence[str]], Awaitable[Sequence[Mapping[str, Any]] | None]]


class Ticking(Protocol):
    """A spoken session, which looks after itself once a second."""

    def tick(self) -> None: ...


@slotted
class Plane:
    """The data plane's own state.

    configured: what the latest configuration says; a call holds the one that it began with. ready: false until the budgets
    are seeded, and while draining. recall, recall_stored: ask the ledger about sessions and about what is stored at
    providers; None: there is nobody to ask. unseeded: budgets that a reload brought, until the ledger says what is spent;
    early_seeds: that, and of which definitions, where it was said before the reload.
    unrecorded_because: what keeps records out of the spool, so that calls are refused; empty where nothing does.
    shares_conversations: whether other processes have the secret of this one's conversations: the workers of one data folder.
    sessions: spoken ones that are open. paces: of whole answers, tokens a second by upstream and model.
    """

    configured: Configured
    keys: KeyRing
    store: Store
    spool: SpoolWriter
    load: Load
    ids: Ids = field(default_factory=Ids)
    tally: Tally = field(default_factory=Tally)
    stored_owners: StoredOwners = field(default_factory=StoredOwners)
    recall: Recall | None = None
    recall_stored: Recall | None = None
    jobs: KnownJobs = field(default_factory=KnownJobs)
    trees: SessionTrees = field(default_factory=SessionTrees)
    chains: Chains = field(default_factory=lambda: Chains(KeyedHash(secrets.token_bytes(32))))
    prefixes: CountedPrefixes = field(default_factory=lambda: CountedPrefixes(KeyedHash(secrets.token_bytes(32))))
    guards: Guards = field(default_factory=lambda: Guards(Config().guards))
    learned: Learned = field(default_factory=Learned)
    session_costs: SessionCosts = field(default_factory=SessionCosts)
    readers: BoundedTable[tuple[str, str, str], Reader] = field(default_factory=lambda: BoundedTable(_MAX_READERS))
    paces: BoundedTable[tuple[str, str], float] = field(default_factory=lambda: BoundedTable(_MAX_READERS))
    shares_conversations: bool = False
    ready: bool = False
    unrecorded_because: str = ""
    unseeded: set[str] = field(default_factory=set)
    early_seeds: tuple[Sequence[Mapping[str, Any]], Mapping[str, str]] | None = None
    seeded: asyncio.Event = field(default_factory=asyncio.Event)
    calls_in_flight: int = 0
    sessions: set[Ticking] = field(default_factory=set)
    started_at: float = field(default_factory=now_s)

    async def add_to_session(self, team: str | None, session_id: str, nanousd: int) -> None:
        """Add to what a session has cost, over all workers where they share a store."""
        total = self.session_costs.add(team, session_id, nanousd)
        if self.store.epoch:
            await self.share_session(team, session_id, nanousd, total)

    async def share_session(
        self, team: str | None, session_id: str, nanousd: int, total: int, *, alone: bool = False
    ) -> None:
        """Tell other workers what was added, and learn what they did. total: with it, as this one knows. alone: the session
        is this one call."""
        try:
            shared = await self.store.session_cost(team, session_id, nanousd, alone=alone)
        except StoreUnavailable:  # then this worker's part is what is said
            return
        if shared is not None:
            self.session_costs.add(team, session_id, shared - total)

    async def session_elsewhere(self, names: Sequence[str]) -> str | None:
        """The session of a conversation that another worker has, or had before a restart; None where nobody knows it."""
        if not names or not self.shares_conversations:
            return None
        try:
            sessions = await self.store.noted_sessions(names)
        except StoreUnavailable:  # it is a guess: the call goes on without
            return None
        return next((session_id for session_id in sessions if session_id), None)

    async def standings_of(self, attributes: Mapping[str, str | None]) -> list[Standing]:
        """The money budgets in which every call with these attributes counts, as they stand."""
        counted, taken = claims(self.configured.budgets.budgets, attributes, Amounts(0, {}), now_s())
        always = [
            claim
            for budget, claim in zip(counted, taken, strict=True)
            if claim.measure == "usd" and all(attribute in attributes for attribute in budget.per)
        ]
        return list(await self.store.standings_of(always))

    def reader(self, dialect: str, provider: str, target: str) -> Reader:
        """The usage reader of a dialect at a provider."""
        key = (dialect, provider, target)
        reader = self.readers.get(key)
        if reader is None:
            reader = self.readers[key] = meters.reader(dialect, provider, target)
        return reader
