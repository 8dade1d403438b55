"""What an operator is told of his Redis, and what its address may look like."""

from __future__ import annotations

import pytest

from proxy.budgets.redis.scripts import problems
from proxy.config.store_url import parse_address

FIT = {"redis_version": "7.2.5", "maxmemory_policy": "noeviction", "role": "master", "aof_enabled": "1"}


def test_a_fit_server_has_no_problems() -> None:
    assert problems(FIT) == ([], [])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"redis_version": "6.2.14"}, "too old"),
        ({"maxmemory_policy": "allkeys-lru"}, "must be noeviction"),
        ({"role": "slave"}, "replica"),
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
    ("url", "parts"),
    [
        ("redis://host", ("host", 6379, None, 0, None, None, False)),
        ("redis://:pw%40@host:1/2", ("host", 1, None, 2, None, "pw@", False)),
        ("rediss://user:pw@[::1]:6380", ("::1", 6380, None, 0, "user", "pw", True)),
        ("unix:///run/redis.sock?db=3", ("", 0, "/run/redis.sock", 3, None, None, False)),
    ],
)
def test_addresses(url: str, parts: tuple[object, ...]) -> None:
    assert tuple(parse_address(url)) == parts


@pytest.mark.parametrize(
    "url", ["redis://", "http://host", "redis://host/x", "redis://host:port", "unix://", "redis://h?x=1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_address(url)
