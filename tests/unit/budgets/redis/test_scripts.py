"""What an operator is told of his Redis: whether it may hold budgets at all."""

from __future__ import annotations

import pytest

from proxy.budgets.redis.scripts import nearly_full, problems

FIT = {"redis_version": "7.2.5", "maxmemory_policy": "noeviction", "role": "master", "aof_enabled": "1"}


def test_a_fit_server_has_no_problems() -> None:
    assert problems(FIT) == ([], [])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"redis_version": "6.2.14"}, "too old"),
        ({"maxmemory_policy": "allkeys-lru"}, "must be noeviction"),
        ({"role": "slave"}, "replica"),
        ({"redis_mode": "cluster", "cluster_enabled": "1"}, "Cluster"),
    ],
)
def test_a_server_that_would_lose_budgets_is_not_used(changed: dict[str, str], said: str) -> None:
    unfit, _ = problems(FIT | changed)
    assert len(unfit) == 1
    assert said in unfit[0]


def test_a_server_without_persistence_is_used_with_a_warning() -> None:
    unfit, doubtful = problems(FIT | {"aof_enabled": "0"})
    assert unfit == []
    assert len(doubtful) == 1


@pytest.mark.parametrize(
    ("used", "most", "warned"), [("79", "100", False), ("80", "100", True), ("80", "0", False), ("80", None, False)]
)
def test_a_server_that_is_nearly_full_is_said(used: str, most: str | None, warned: bool) -> None:
    told = {"used_memory": used} | ({} if most is None else {"maxmemory": most})
    assert bool(nearly_full(told)) is warned
