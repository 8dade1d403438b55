"""What is legal and surely wrong is warned of, and what is right is not."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.checks import build
from proxy.config.file import ConfigError, Expansion

UPSTREAM = {"base_url": "https://api.openai.com/v1", "api_key": "k", "provider": "openai"}
FINE: dict[str, Any] = {
    "upstreams": {"openai": UPSTREAM},
    "models": {"gpt-*": {"upstream": "openai"}},
    "prices": [{"provider": "openai", "model": "x", "input": "1"}, {"provider": "*", "model": "y", "input": "1"}],
}


def warned(tree: dict[str, Any]) -> list[str]:
    return build(Expansion(tree, [], []))[1]


def test_what_is_right_is_not_warned_of() -> None:
    assert warned(FINE) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"server": {"port": 4100, "admin_port": 4100}}, "server.admin_port"),
        ({"server": {"max_body_mb": 100, "max_inflight_mb": 50}}, "server.max_inflight_mb"),
        ({"upstreams": {"openai": UPSTREAM | {"api_key": "Bearer sk-x"}}}, "upstreams.openai.api_key"),
        (
            {"upstreams": {"openai": UPSTREAM | {"base_url": "https://h/v1/chat/completions"}}},
            "upstreams.openai.base_url",
        ),
        ({"upstreams": {"openai": UPSTREAM | {"base_url": "https://h/v1/messages/"}}}, "upstreams.openai.base_url"),
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
