"""The shared store as the configuration describes it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from proxy.budgets.redis.leased import LeasedStore
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.dataplane.shared_store import shared_store
from tests.support.rows import each_row

SPOOL = cast(Any, SimpleNamespace(run="run", append_end=lambda _: None, write_owed=lambda: None))


@each_row("settings, answers_in_s, leased", [
    ({}, 0.25, False),
    ({"store_timeout_s": 0.05}, 0.05, False),
    ({"store_timeout_s": 2, "store_lease_share": 0.02}, 2, True),
])  # fmt: skip
def test_the_configuration_says_how_long_redis_may_take(
    settings: dict[str, Any], answers_in_s: float, leased: bool
) -> None:
    store = shared_store(read_section(Config, {"store": "redis://127.0.0.1:1/0"} | settings), SPOOL)

    assert (store.member._deadline_s, isinstance(store, LeasedStore)) == (answers_in_s, leased)
