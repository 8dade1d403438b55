"""Capacities: everything that is wrong is told at once, dated rows hold from their moment, unknown stays unknown."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.checks import build
from proxy.config.file import Expansion
from proxy.config.model import Config
from proxy.config.problems import ConfigError

UPSTREAMS = {"v": {"base_url": "http://h/v1"}, "w": {"base_url": "http://h/v1"}}
POOL: dict[str, Any] = {"name": "pool", "upstreams": ["v"], "usd_per_hour": "2.50"}


def built(*capacity: dict[str, Any]) -> Config:
    tree = {"upstreams": dict(UPSTREAMS), "models": {"*": {"upstream": "v"}}, "capacity": list(capacity)}
    return build(Expansion(tree, [], []))[0]


def problems(*capacity: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        built(*capacity)
    return {problem.path: problem.message for problem in error.value.problems}


def test_the_least_that_one_says() -> None:
    (pool,) = built(POOL).capacity

    assert pool.rates().cost(0, 3_600_000_000) == 2_500_000_000
    assert (pool.share, pool.price, pool.grams_per_kwh()) == ("tokens", "listed", None)
    assert (pool.terms().milliwatts, pool.terms().metered) == (None, False)


def test_dated_rows_of_both() -> None:
    (pool,) = built(POOL | {
        "usd_per_hour": [{"from": "2026-11-01", "usd_per_hour": 2}, {"from": "2026-11-01T12:00:00Z", "usd_per_hour": "3"}],
        "units": [{"from": "2026-11-01", "units": 4}, {"from": "2026-11-02", "units": 0}],
    }).capacity  # fmt: skip

    day = 20_758 * 86_400_000_000  # 2026-11-01
    assert pool.rates().cost(day - 86_400_000_000, day) == 0
    assert pool.rates().cost(day, day + 86_400_000_000) == (12 * 4 * 2 + 12 * 4 * 3) * 10**9
    assert pool.rates().cost(day + 86_400_000_000, day + 2 * 86_400_000_000) == 0


def test_power_and_carbon() -> None:
    (pool,) = built(POOL | {"power": {"watts": 700}, "co2": {"country": "DEU"}, "usd_per_kwh": "0.12"}).capacity
    (other,) = built(POOL | {"power": {"metrics_url": "http://h:9400/metrics"}, "co2": {"grams_per_kwh": 12}}).capacity

    assert pool.terms().milliwatts == (700_000, 700_000)
    assert (pool.grams_per_kwh(), other.grams_per_kwh()) == (380.95, 12)
    assert pool.terms().nanousd_per_kwh == 120_000_000
    assert other.terms().metered


def test_all_problems_at_once() -> None:
    assert set(problems(
        POOL | {"upstreams": ["v", "zzz"]},
        POOL | {"upstreams": "v"},
        POOL | {"name": "c", "upstreams": [], "usd_per_kwh": "0.1", "co2": {"country": "USA"}, "compare": ["gpt-5"]},
        POOL | {"name": "d", "upstreams": ["w"], "power": {}, "co2": {"country": "XXX"}, "metrics_key": "k"},
        POOL | {"name": "e", "upstreams": ["w"], "units": [{"from": "2026-11-02", "units": 1}, {"from": "2026-11-01", "units": 1}]},
    )) == {
        "capacity[0].upstreams", "capacity[1].name", "capacity[1].upstreams", "capacity[2].upstreams",
        "capacity[2].usd_per_kwh", "capacity[2].co2", "capacity[2].compare[0]", "capacity[3].power", "capacity[3].co2.country",
        "capacity[3].metrics_key", "capacity[4].upstreams", "capacity[4].units",
    }  # fmt: skip


def test_problems_of_form_have_the_path_that_was_written() -> None:
    assert problems(
        POOL | {"usd_per_hour": -1, "units": 0, "metrics_url": "ftp://x", "nonsense": 1},
        POOL | {"name": "b", "usd_per_hour": [], "power": {"watts": 0}},
    ).keys() >= {
        "capacity[0].usd_per_hour", "capacity[0].units", "capacity[0].metrics_url", "capacity[0].nonsense",
        "capacity[1].usd_per_hour", "capacity[1].power.watts",
    }  # fmt: skip


def test_an_upstream_that_is_left_out_is_left_out_here_too() -> None:
    tree = {"upstreams": dict(UPSTREAMS), "capacity": [POOL | {"upstreams": ["v", "w"]}]}
    config, warnings = build(Expansion(tree, [], [("w", "${KEY} is not set")]))

    assert config.capacity[0].upstreams == ("v",)
    assert warnings
