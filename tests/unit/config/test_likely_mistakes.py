"""What is legal and surely wrong is warned of, and what is right is not."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.checks import build
from proxy.config.file import Expansion
from proxy.config.problems import ConfigError

UPSTREAM = {"base_url": "https://api.openai.com/v1", "api_key": "k", "provider": "openai"}
FINE: dict[str, Any] = {
    "upstreams": {"openai": UPSTREAM},
    "models": {"gpt-*": {"upstream": "openai"}},
    "prices": [{"provider": "openai", "model": "x", "input": "1"}, {"provider": "*", "model": "y", "input": "1"}],
}


def warned(tree: dict[str, Any]) -> list[str]:
    return build(Expansion(tree, [], []))[1]


RIGHT: list[dict[str, Any]] = [
    {},
    {"prices": [{"provider": "openai", "model": "*", "multiplier": "1.19"}]},
    {"budgets": [{"name": "b", "limit_usd": 1, "window": "day", "action": "warn", "alert_at": [1, 2]}]},
    {"spool": {"max_mb": 500_000}, "server": {"busy_wait_s": 600, "drain_timeout_s": 3600}},
]


@pytest.mark.parametrize("change", RIGHT)
def test_what_is_right_is_not_warned_of(change: dict[str, Any]) -> None:
    assert warned(FINE | change) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"server": {"max_body_mb": 100, "max_inflight_mb": 50}}, "server.max_inflight_mb"),
        ({"upstreams": {"openai": UPSTREAM | {"api_key": "Bearer sk-x"}}}, "upstreams.openai.api_key"),
        (
            {"upstreams": {"openai": UPSTREAM | {"base_url": "https://h/v1/chat/completions"}}},
            "upstreams.openai.base_url",
        ),
        ({"upstreams": {"openai": UPSTREAM | {"base_url": "https://h/v1/messages/"}}}, "upstreams.openai.base_url"),
        (
            {"upstreams": {"openai": UPSTREAM | {"base_urls": {"anthropic": "https://h/v1/messages"}}}},
            "upstreams.openai.base_urls.anthropic: ends in /messages",
        ),
        ({"keys": [{"name": "k", "key": "Bearer sk-0123456789abcdef"}]}, "keys[0].key: begins with Bearer"),
        ({"server": {"admin_key": "bearer sk-0123456789abcdef"}}, "server.admin_key: begins with Bearer"),
        ({"server": {"port": 4190}}, "server.port: browsers and Node's fetch never connect to port 4190"),
        ({"server": {"admin_port": 6000}}, "server.admin_port: browsers"),
        (
            {"exports": [{"type": "lago", "api_key": "Bearer sk-x", "subject": "customer"}]},
            "exports[0].api_key: begins with Bearer",
        ),
        (
            {"prices": [{"provider": "openai", "model": "*", "multiplier": 80}]},
            'prices[0].multiplier: 80 makes everything 80 times as dear; a discount of 20 % is "0.8"',
        ),
        ({"prices": [{"provider": "openai", "model": "*", "multiplier": "0.00"}]}, "prices[0].multiplier: 0 makes"),
        (
            {"spool": {"max_mb": 4294967296}},
            "spool.max_mb: 4294967296 megabytes are more than a machine has; if bytes are meant, 4096",
        ),
        ({"server": {"max_inflight_mb": 536870912}}, "server.max_inflight_mb: 536870912 megabytes"),
        ({"jobs": {"max_file_mb": 536870912}}, "jobs.max_file_mb: 536870912 megabytes"),
        (
            {"upstreams": {"openai": UPSTREAM | {"connect_timeout_s": 5000}}},
            "upstreams.openai.connect_timeout_s: 5000 seconds are 83 minutes; if milliseconds are meant, 5",
        ),
        (
            {"budgets": [{"name": "b", "limit_usd": 1, "window": "day", "alert_at": [0.5, 1.2]}]},
            "budgets[0].alert_at: 1.2 is hardly ever reached, as the budget blocks at 1",
        ),
        ({"upstreams": {}, "models": {}, "prices": []}, "upstreams"),
        ({"models": {}}, "models"),
        ({"prices": [{"provider": "opnai", "model": "x", "input": "1"}]}, "prices[0].provider"),
        (
            {
                "models": {
                    "a": {"upstream": "openai", "fallbacks": ["b"]},
                    "b": {"upstream": "openai", "fallbacks": ["a"]},
                }
            },
            "models.a.fallbacks",
        ),
    ],
)
def test_what_is_surely_wrong_is(change: dict[str, Any], path: str) -> None:
    assert [warning for warning in warned(FINE | change) if warning.startswith(path)]


def test_a_file_of_litellm_s_is_known() -> None:
    with pytest.raises(ConfigError) as refused:
        warned({"model_list": [{"model_name": "x"}]})

    assert "LiteLLM" in str(refused.value)


def test_what_an_upstream_without_its_key_leaves_out_is_warned_of_once() -> None:
    """Budgets and keys that name it, its provider or its models had a warning each, as if these were misspelt."""
    tree: dict[str, Any] = {
        "upstreams": {
            "own": {"base_url": "http://127.0.0.1:1/v1", "provider": "vllm"},
            "far": UPSTREAM | {"provider": "mistral"},
        },
        "models": {"small": {"upstream": "own", "fallbacks": ["gpt-1"]}}
        | {f"gpt-{number}": {"upstream": "far"} for number in range(7)},
        "prices": [{"provider": "mistral", "model": "*", "input": "1"}],
        "keys": [{"name": "a", "key": "sk-long-enough-for-a-key", "models": ["gpt-1"]}],
        "budgets": [
            {"name": name, "match": {name: value}, "limit_usd": 1, "window": "day"}
            for name, value in (("upstream", "far"), ("provider", "mistral"), ("model", "gpt-2"))
        ],
    }

    config, (said,) = build(Expansion(tree, [], [("far", "the environment variable KEY is not set")]))

    assert said == (
        "upstreams.far is left out, and with it the models gpt-0, gpt-1, gpt-2, gpt-3, gpt-4 and 2 more: "
        "the environment variable KEY is not set; to have it, mend that and start again"
    )
    assert [*config.models] == ["small"]
    assert config.models["small"].fallbacks == ()


def test_where_no_upstream_has_its_key_none_else_is_promised() -> None:
    """`serve` takes no provider of the environment's: the file names its own."""
    tree: dict[str, Any] = {"upstreams": {"far": {}}, "models": {"gpt": {"upstream": "far"}}}
    _, warnings = build(Expansion(tree, [], [("far", "the environment variable KEY is not set")]))
    assert [warning.partition(",")[0] for warning in warnings] == [
        "upstreams.far is left out", "upstreams: none of them is left",
    ]  # fmt: skip
