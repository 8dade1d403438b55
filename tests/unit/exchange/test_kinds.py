"""A plan that was made with what is remembered of calls like it is the plan that is made without."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.load import load_book
from proxy.access.keys import identity_of
from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.dataplane.process import build_plane
from proxy.dialects import find, openai
from proxy.dialects.openai import parse_chat
from proxy.downstream.client import Client
from proxy.downstream.cycle import Asked
from proxy.downstream.head_cache import Notes
from proxy.errors import Refused
from proxy.exchange.exchange import Exchange
from proxy.exchange.plan import Plan, plan
from proxy.exchange.plane import Plane
from proxy.types import Attribution
from tests.support.examples import examples

PROVIDERS = [
    "acme", "openai", "azure", "xai", "dashscope", "openrouter", "vllm", "llama.cpp", "ollama", "google", "mistral",
    "perplexity",
]  # fmt: skip
MODELS = [
    "m", "gpt-4o-mini", "gpt-4o-search-preview", "grok-4.3", "qwen-plus", "sonar", "gemini-2.5-flash-image", "a/b:online", "o3"
]  # fmt: skip
NAMES = [f"{provider} {model}" for provider in PROVIDERS for model in MODELS]
KEY = "sk-some-key-0000-0000"
ASKED = SimpleNamespace(path="/", query=b"", named={}, notes=Notes(), connection=None)

# What fields may hold: by the values that a rule, a bound or a price asks for, and others.
FIELDS: dict[str, list[Any]] = {
    "stream": [True, False],
    "stream_options": [{"include_usage": False}, None],
    "max_tokens": [None, 1, 7, 5000],
    "max_completion_tokens": [None, 1, 9],
    "n": [None, 1, 3],
    "tools": [
        [],
        None,
        [{"type": "function", "function": {"name": "f"}}],
        [{"type": "web_search"}],
        [{"type": "a:b"}],
        "x",
    ],
    "tool_choice": ["auto"],
    "response_format": [{"type": "json_object"}],
    "reasoning_effort": ["none", "high", None, {"effort": "high"}, 3],
    "parallel_tool_calls": [True, False],
    "temperature": [0.7, 0],
    "top_p": [1, None],
    "presence_penalty": [0.5],
    "frequency_penalty": [-0.5],
    "seed": [7],
    "stop": ["x", None],
    "user": ["somebody"],
    "service_tier": ["priority", "flex", "auto"],
    "web_search_options": [{}, None],
    "reasoning": [{"max_tokens": 100}],
    "enable_thinking": [True, False],
    "thinking": [{"type": "disabled"}],
    "modalities": [["text", "audio"], None],
    "prediction": [{"type": "content", "content": "x"}],
    "prompt_cache_key": ["k"],
    "max_new_tokens": [3, 9000],
    "provider": [{"order": ["x"]}],
    "models": [["other"]],
    "store": [True],
    "never_heard_of_it": [1, {"max_tokens": 9000}],
}
TEXTS = ["hello", "", "é ﷺ", "fileid://file-abc", '"prompt_cache" and "1h"', "x" * 9000]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Plane:
    return plane_in(tmp_path_factory.mktemp("kinds"))


def plane_in(folder: Path, **changes: Any) -> Plane:
    config: dict[str, Any] = {
        "upstreams": {
            name: {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": name.replace("-cpp", ".cpp")}
            for name in [provider.replace(".", "-") for provider in PROVIDERS]
        },
        "models": {
            f"{provider} {model}": {"upstream": provider.replace(".", "-"), "model": model, "context_tokens": 8000}
            for provider in PROVIDERS
            for model in MODELS
        },
        "prices": [
            {"provider": one, "model": "*", "input": "1", "cache_read": "0.5", "output": "2"} for one in PROVIDERS
        ],
        "keys": [{"name": "k", "key": KEY, "team": "t"}],
        "budgets": [
            {"name": "b", "limit_usd": "1000", "window": "day", "per": ["key"]},
            {"name": "tokens", "limit_tokens": 10**9, "window": "total"},
        ],
        "data_dir": str(folder),
    } | changes
    return build_plane(read_section(Config, config), "0", {}, load_book())


def planned(plane: Plane, name: str, body: dict[str, Any], started_at: int = 0) -> Any:
    """All of a plan that is not of its moment; or why there is none. started_at: epoch microseconds; 0: now."""
    endpoint = find("POST", "/v1/chat/completions", b"")
    assert endpoint is not None
    identity = identity_of(plane.configured.config.keys[0])
    attribution = Attribution("s", "none", "s", "s")
    client = Client(plane.load, cast(Asked, ASKED))
    try:
        call = parse_chat(orjson.dumps(body))
        route = plane.configured.router.route(name, identity)
        made = plan(
            Exchange(plane, plane.configured, endpoint, client, identity, call, "r", attribution, None),
            route,
            1,
            1,
            started_at,
        )
    except Refused as refused:
        return refused.refusal
    kept = [
        field
        for field in cast(Any, Plan).__match_args__
        if field not in ("id", "started_at", "deadline_at", "outgoing", "price")
    ]
    price = made.price
    told = price(made.bound.usage), price.fixed, price.without, price.factor, price.physical, price.media
    return [getattr(made, field) for field in kept], made.outgoing.written(made.changes), told


BODIES = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in FIELDS.items()})


def agree(plane: Plane, name: str, bodies: list[dict[str, Any]]) -> None:
    plane.configured.kinds.clear()
    remembered = [planned(plane, name, body) for body in bodies]
    for body, plan_of_it in zip(bodies, remembered, strict=True):
        plane.configured.kinds.clear()
        assert planned(plane, name, body) == plan_of_it


def called(body: dict[str, Any], text: str) -> dict[str, Any]:
    return {**body, "model": "m", "messages": [{"role": "user", "content": text}] * (1 + len(text) % 3)}


@examples(50)
@given(st.sampled_from(NAMES), BODIES, st.sampled_from([*FIELDS]), st.permutations(TEXTS))
def test_what_is_remembered_changes_nothing(
    plane: Plane, name: str, body: dict[str, Any], changed: str, texts: list[str]
) -> None:
    """Calls with other texts, and with another value in a field."""
    agree(plane, name, [called({**body, changed: value}, text) for value in FIELDS[changed] for text in texts[:3]])


@pytest.mark.parametrize("longest_s", [600, 3600, 4000])
@pytest.mark.parametrize("before", ["7", "0.5"])
def test_whenever_a_call_began_it_has_the_prices_of_its_own_time(tmp_path: Path, longest_s: int, before: str) -> None:
    """Also one that began before another of its kind, whose plan was made first."""
    changes_s = 1_800_000_000 // 3600 * 3600
    at = datetime.fromtimestamp(changes_s, UTC).isoformat()
    of = {"provider": "acme", "model": "m"}
    prices = [{**of, "input": before, "output": "2", "to": at}, {**of, "input": "1", "output": "2", "from": at}]
    plane = plane_in(tmp_path, prices=prices, server={"max_call_s": longest_s})
    beginnings = [(changes_s + s) * 1_000_000 for by in (0, longest_s) for s in (-by - 1, -by, 3599 - by, 3600 - by)]
    body = called({"max_tokens": 7}, "hello")
    for first, second in itertools.permutations(beginnings, 2):
        plane.configured.kinds.clear()
        planned(plane, "acme m", body, first)
        remembered = planned(plane, "acme m", body, second)
        plane.configured.kinds.clear()
        assert planned(plane, "acme m", body, second) == remembered
    plane.spool.close()


def test_every_field_of_a_shape_is_tried() -> None:
    assert FIELDS.keys() | {"model", "messages"} >= openai._SHAPED


@pytest.mark.long
@pytest.mark.parametrize("field", FIELDS)
def test_no_value_of_a_field_is_taken_for_another(plane: Plane, field: str) -> None:
    for name in NAMES:
        for values in (FIELDS[field], FIELDS[field][::-1]):
            agree(plane, name, [called({field: value}, "hello") for value in values])


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 1),
        ({"max_tokens": 5, "tools": [{"type": "function", "function": {"name": "f"}}], "reasoning_effort": "low"}, 1),
        ({"service_tier": "flex"}, 0),
        ({"tools": [{"type": "web_search"}]}, 0),
    ],
)
def test_only_what_is_known_is_remembered(plane: Plane, fields: dict[str, Any], count: int) -> None:
    plane.configured.kinds.clear()
    for text in TEXTS[:3]:
        planned(plane, "openai gpt-4o-mini", {"model": "m", **fields, "messages": [{"role": "user", "content": text}]})
    assert len(plane.configured.kinds) == count
