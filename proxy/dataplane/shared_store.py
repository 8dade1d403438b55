"""Budgets in Redis, as a data plane has them: imported only where they are."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from proxy.budgets.redis.leased import LeasedStore, LeaseTerms
from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Store, StoreUnavailable
from proxy.config.model import Config
from proxy.processes.link import DataPlaneLink
from proxy.spool import records
from proxy.spool.writer import SpoolWriter


def shared_store(config: Config, spool: SpoolWriter) -> RedisStore:
    """The store that all instances share, and what the spool has to know of its epochs."""

    def epoch_begins(epoch: str) -> None:
        """Whatever ends before this record is in the sums that the epoch's counters are made of."""
        marker: records.Epoch = {"t": "epoch", "epoch": epoch}
        spool.append_end(orjson.dumps(marker))

    async def joined(epoch: str) -> None:
        """Everything that is open here stands in the new epoch."""
        await store.member.note("joined", spool.run)

    answers_in = config.store_timeout_s
    store: RedisStore
    if config.store_lease_share:
        terms = LeaseTerms(spool.run, config.store_lease_share, config.server.max_call_s)
        store = LeasedStore(
            config.store,
            terms,
            before_report=spool.write_owed,
            on_epoch=epoch_begins,
            on_joined=joined,
            deadline_s=answers_in,
        )
    else:
        store = RedisStore(config.store, on_epoch=epoch_begins, on_joined=joined, deadline_s=answers_in)
    return store


def ask_ledger(store: Store, link: DataPlaneLink, within_s: float) -> None:
    """Have the store ask the control process for groups that Redis has dropped."""
    assert isinstance(store, RedisStore)

    async def recall(groups: Sequence[tuple[str, str]]) -> Sequence[tuple[int, int]]:
        answer = await link.ask("groups", {"groups": groups}, within_s)
        if answer is None:
            raise StoreUnavailable("the control process does not say what groups of a budget have spent")
        sums: Sequence[tuple[int, int]] = answer
        return sums

    store.member.recall = recall
