"""What only some providers read, and what reaches past a key by it: other models, a server's engine, its network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.access import provider_fields
from proxy.access.public_urls import is_public
from proxy.errors import Refused
from proxy.jobs.apis import fal
from proxy.types import Route
from tests.attack.houses import ask, house_of
from tests.flow.house import KEY
from tests.support.calls import call_of

ROUTERS = ("openrouter", "litellm", "some-gateway")
ENGINES = ("vllm", "sglang", "tensorrt-llm", "llama.cpp", "ollama", "my-own-server")
ONLY = {
    "models": {"m": {"upstream": "up"}, "n": {"upstream": "up", "model": "maker/n"}, "p*": {"upstream": "up"}},
    "keys": [{"name": "k", "key": KEY, "models": ["m", "n", "p*"]}],
}
BLOCKS = {"budgets": [{"name": "b", "limit_usd": "100", "window": "day"}]}


@pytest.mark.parametrize("provider", ROUTERS)
@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["openai/o1-pro"]},
        {"models": ["m", "openai/o1-pro"], "route": "fallback"},
        {"models": "openai/o1-pro"},
        {"Models": ["openai/o1-pro"]},
        {"route": "fallback"},
        {"preset": "dear"},
        {"plugins": [{"id": "web", "max_results": 10}]},
        {"plugins": [{"id": "auto-router", "allowed_models": ["*"]}]},
        *({"plugins": [{"id": one}]} for one in (["web"], {"a": 1}, 1, None)),
        {"plugins": [["web"]]},
        {"reasoning": {"mode": "pro"}},
        {"reasoning": {"effort": "low", "mode": ["pro"]}},
        {"provider": {"order": ["dear"]}},
        {"provider": {"sort": "throughput"}},
        {"fallbacks": ["openai/o1-pro"]},
        {"fallback_model": "openai/o1-pro"},
        {"engine": "openai/o1-pro"},
        {"modelName": "openai/o1-pro"},
        {"specific_deployment": True},
        {"providerOptions": {"gateway": {"order": ["dear"]}}},
        {"tools": [{"type": "openrouter:web_search"}]},
        {"fallback": "openai/o1-pro"},
        {"base_model": "openai/o1-pro"},
        {"model_group": "dear"},
        {"baseModel": "openai/o1-pro"},
        {"azure_deployment": "dear"},
        {"router_settings": {"x": 1}},
        {"num_retries": 50},
        {"mock_testing_fallbacks": True},
        {"override_params": {"model": "openai/o1-pro"}},
        {"config": {"targets": [{}]}},
        {"strategy": {"mode": "fallback"}},
        {"extra": {"models": ["openai/o1-pro"]}},
        {"gateway": {"fallback": "openai/o1-pro"}},
        {"candidates": [{"model": "openai/o1-pro"}]},
        {"extra": {"deeper": [{"models": ["openai/o1-pro"]}]}},
        {"model": "p/a:online"},
        {"model": "p/a:free:online"},
        {"model": "p/a:nitro"},
        {"model": "p/a@preset/dear"},
    ],
)
async def test_no_router_is_told_to_ask_another_model(tmp_path: Path, provider: str, fields: dict[str, Any]) -> None:
    house = house_of(tmp_path, "chat", provider, **(ONLY | BLOCKS))
    told = await ask(house, "chat", **fields)
    assert told.status in (400, 402, 404), told.body
    assert house.sent == []


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ["m", "n"]},
        {"models": None, "route": None, "plugins": []},
        {"provider": {"data_collection": "deny", "zdr": True}},
        {"plugins": [{"id": "response-healing"}]},
        {"model": "p/a:free"},
        {"transforms": ["middle-out"], "usage": {"include": True}, "reasoning": {"effort": "low"}},
        {"metadata": {"model": "mine"}, "modalities": ["text"], "image_config": {"size": "1K"}, "trace": {"x": 1}},
        {"fallback": None, "extra": {"a": 1}},
        {"reasoning": {"mode": "standard", "effort": "low"}},
    ],
)
async def test_a_router_is_told_what_the_key_may(tmp_path: Path, fields: dict[str, Any]) -> None:
    house = house_of(tmp_path, "chat", "openrouter", **ONLY)
    assert (await ask(house, "chat", **fields)).status == 200
    if "m" in (fields.get("models") or ()):
        assert house.sent[0][1]["models"] == ["m", "maker/n"]


async def test_a_name_that_held_a_text_before_is_looked_into_all_the_same(tmp_path: Path) -> None:
    house = house_of(tmp_path, "chat", "openrouter", **(ONLY | BLOCKS))
    assert (await ask(house, "chat", once_a_text="x")).status == 200
    assert (await ask(house, "chat", once_a_text={"x": 1})).status == 200
    assert (await ask(house, "chat", once_a_text={"model": "openai/o1-pro"})).status == 400
    assert (await ask(house, "chat", once_a_text=["x"])).status == 200
    assert (await ask(house, "chat", once_a_text=["x", {"model": "openai/o1-pro"}])).status == 400
    assert len(house.sent) == 3


OPEN = {"models": {"m": {"upstream": "up"}, "*": {"upstream": "up"}}, "keys": [{"name": "k", "key": KEY}]}
DEARER: list[dict[str, Any]] = [
    {"provider": {"order": ["dear"], "allow_fallbacks": False}},
    {"provider": {"sort": "throughput"}},
    {"provider": {"only": ["dear"], "quantizations": ["fp8"]}},
    {"plugins": [{"id": "web", "max_results": 10}]},
    {"model": "p/a:nitro"},
]
ANOTHER: list[dict[str, Any]] = [
    {"route": "fallback"},
    {"preset": "dear"},
    {"plugins": [{"id": "auto-router", "allowed_models": ["*"]}]},
    {"model": "p/a@preset/dear"},
    {"reasoning": {"mode": "pro"}},
]


@pytest.mark.parametrize("fields", [*DEARER, *ANOTHER])
async def test_where_nothing_blocks_a_router_may_be_told_who_answers(tmp_path: Path, fields: dict[str, Any]) -> None:
    house = house_of(tmp_path, "chat", "openrouter", **OPEN)
    assert (await ask(house, "chat", **fields)).status == 200
    assert house.sent[0][1].items() >= fields.items()


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        ("openrouter", OPEN | BLOCKS),  # the budget counts on the price of the call's own model
        ("some-gateway", OPEN),  # it does not say what it charged
    ],
)
@pytest.mark.parametrize("fields", [*DEARER, *ANOTHER])
async def test_where_a_budget_blocks_or_the_charge_is_not_told_it_may_not(
    tmp_path: Path, provider: str, settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, "chat", provider, **settings)
    assert (await ask(house, "chat", **fields)).status == 400
    assert house.sent == []


HELD = {"prompt": "1", "completion": 2}  # the price of the houses' models


@pytest.mark.parametrize(
    ("routing", "passes"),
    [
        ({"order": ["dear"], "max_price": HELD}, True),
        ({"sort": "throughput", "only": ["a"], "max_price": HELD | {"prompt": 0.5}}, True),
        ({"order": ["dear"], "max_price": HELD | {"completion": "2.01"}}, False),
        ({"order": ["dear"], "max_price": {"prompt": 1}}, False),
        ({"order": ["dear"], "max_price": HELD | {"prompt": "much"}}, False),
        ({"order": ["dear"], "max_price": None}, False),
        ({"order": ["dear"], "fallback_models": ["o1-pro"], "max_price": HELD}, False),
    ],
)
async def test_where_a_budget_blocks_a_router_may_choose_within_the_price(
    tmp_path: Path, routing: dict[str, Any], passes: bool
) -> None:
    house = house_of(tmp_path, "chat", "openrouter", **(OPEN | BLOCKS))
    told = await ask(house, "chat", provider=routing)
    assert told.status == (200 if passes else 400), told.body
    if passes:
        assert house.sent[0][1]["provider"] == routing


@pytest.mark.parametrize("fields", ANOTHER)
@pytest.mark.parametrize("settings", [ONLY, OPEN | {"models": {"m": {"upstream": "up"}, "p*": {"upstream": "up"}}}])
async def test_a_list_of_models_is_not_got_past_by_a_router(
    tmp_path: Path, settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, "chat", "openrouter", **settings)
    assert (await ask(house, "chat", **fields)).status == 400
    assert house.sent == []


async def test_other_models_have_to_be_priced(tmp_path: Path) -> None:
    house = house_of(tmp_path, "chat", "acme", prices=[{"provider": "acme", "model": "m", "input": "1", "output": "2"}])
    assert (await ask(house, "chat", models=["dark"])).status == 402
    assert house.sent == []


async def test_a_variant_that_the_operator_wrote_down_is_served(tmp_path: Path) -> None:
    house = house_of(tmp_path, "chat", "openrouter", models={"a:online": {"upstream": "up"}})
    assert (await ask(house, "chat", model="a:online")).status == 200


@pytest.mark.parametrize("provider", ["openai", "mistral", "vllm"])
async def test_who_is_no_router_is_asked_as_ever(tmp_path: Path, provider: str) -> None:
    house = house_of(tmp_path, "chat", provider)
    assert (await ask(house, "chat", route="x", preset="y")).status == 200


REFUSED: list[dict[str, Any]] = [
    {"logits_processors": ["a.b"]},
    {"best_of": 100},
    {"use_beam_search": True},
    {"prompt_logprobs": 100_000},
    {"documents": [{"text": "t"}]},
    {"chat_template_kwargs": {"chat_template": "{{ x }}"}},
    {"chat_template_kwargs": {"documents": []}},
    {"chat_template_kwargs": {"enable_thinking": {"a": 1}}},
    {"vllm_xargs": {"a": "b"}},
    {"custom_logit_processor": "gA=="},
    {"bootstrap_host": "10.0.0.1"},
    {"lora": [{"id": 0, "scale": 9}]},
    {"lora_path": "/tmp/x"},
    {"n_probs": 100_000},
    {"grammar": "x" * 100_000},
    {"adapters": "/tmp/x"},
    {"response_fields": ["content"]},
    {"logit_bias": {str(n): 1 for n in range(5000)}},
]
LEFT_OUT: list[dict[str, Any]] = [
    {"cache_salt": "a"},
    {"priority": -100},
    {"id_slot": 3},
    {"t_max_predict_ms": 1},
    {"min_tokens": 9},
    {"keep_alive": 0},
    {"options": {"num_ctx": 10**6}},
    {"KEEP_ALIVE": -1},
    {"rid": "x"},
    {"data_parallel_rank": 1},
]
PASSED: list[dict[str, Any]] = [
    {"chat_template_kwargs": {"enable_thinking": False}},
    {"chat_template_kwargs": {"thinking": True, "reasoning_effort": "low"}},
    {"prompt_logprobs": 1},
    {"logprobs": True, "top_logprobs": 5},
    {"guided_json": {"properties": {"file_id": {}}}},
    {"structured_outputs": {"regex": "a+"}},
    {"grammar": 'root ::= "a"'},
    {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 1, "stop_token_ids": [1]},
    {"best_of": 1, "lora": [], "use_beam_search": False, "documents": None},
]


def _told(provider: str, fields: dict[str, Any]) -> bool:
    rules = provider_fields._rules_of(provider)
    return any(name.lower() in rules for name in fields)


@pytest.mark.parametrize("provider", ENGINES)
@pytest.mark.parametrize("fields", REFUSED)
async def test_what_reaches_into_an_engine_is_refused_by_name(
    tmp_path: Path, provider: str, fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, "chat", provider)
    told = await ask(house, "chat", **fields)
    if _told(provider, fields) or "best_of" in fields:
        assert (told.status, house.sent) == (400, []), told.body
        assert next(iter(fields)).encode() in told.body
    else:
        assert told.status == 200  # another engine's field


@pytest.mark.parametrize("provider", ENGINES)
@pytest.mark.parametrize("fields", LEFT_OUT)
async def test_what_reaches_into_an_engine_and_no_answer_needs_is_left_out(
    tmp_path: Path, provider: str, fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, "chat", provider)
    assert (await ask(house, "chat", **fields)).status == 200
    assert (next(iter(fields)) in house.sent[0][1]) is not _told(provider, fields)


@pytest.mark.parametrize("fields", [*REFUSED, *LEFT_OUT])
async def test_every_field_is_stopped_at_a_server_that_nobody_knows(tmp_path: Path, fields: dict[str, Any]) -> None:
    house = house_of(tmp_path, "chat", "my-own-server")
    told = await ask(house, "chat", **fields)
    assert told.status == 400 or next(iter(fields)) not in house.sent[0][1]


@pytest.mark.parametrize("provider", [*ENGINES, "openai", "together"])
@pytest.mark.parametrize("fields", PASSED)
async def test_what_changes_only_the_answer_passes(tmp_path: Path, provider: str, fields: dict[str, Any]) -> None:
    house = house_of(tmp_path, "chat", provider)
    assert (await ask(house, "chat", **fields)).status == 200
    assert house.sent[0][1] | fields == house.sent[0][1]


INNER = [
    "http://169.254.169.254/latest/meta-data/", "http://localhost/a", "http://127.0.0.1:8000/", "http://[::1]/", "http://10.1.2.3/a.png",
    "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://[::ffff:10.0.0.1]/", "http://[64:ff9b::a00:1]/",
    "http://metadata.google.internal/", "http://db/", "http://db.local./", "file:///etc/passwd", "/etc/passwd", "ftp://x.test/a",
    "http://x.test@127.0.0.1/", "http://x.test\\@127.0.0.1/", "http://x.test\t/", " http://127.0.0.1/", "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/", "HTTP://LOCALHOST/", "http://0.0.0.0/", "http://100.64.0.1/", "http://192.168.0.1", "http://224.0.0.1/",
    "http://169.254.169.254.:80/", "http:127.0.0.1", "http:///127.0.0.1", "gopher://127.0.0.1/", "http://svc.ns.svc.cluster.local/",
]  # fmt: skip
PUBLIC = [
    "https://x.test/a.png", "http://upload.wikimedia.org/a?b=c#d", "https://8.8.8.8/a", "https://[2606:4700::1111]/a",
    "https://x.test:8443/é.png", "HTTPS://X.TEST",
]  # fmt: skip


@pytest.mark.parametrize("url", INNER)
def test_what_may_lead_inside_is_not_public(url: str) -> None:
    assert not is_public(url)


@pytest.mark.parametrize("url", PUBLIC)
def test_what_leads_outside_is(url: str) -> None:
    assert is_public(url)


@pytest.mark.parametrize("provider", ENGINES)
@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}},
        {"type": "video_url", "video_url": {"url": "http://10.0.0.1/"}},
        {"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}},
        {"type": "image_url", "image_url": "http://localhost/"},
        {"type": "video", "video": ["http://127.0.0.1/a", "http://127.0.0.1/b"]},
    ],
)
async def test_no_server_of_ones_own_is_sent_inside(tmp_path: Path, provider: str, part: dict[str, Any]) -> None:
    house = house_of(tmp_path, "chat", provider)
    told = await ask(house, "chat", messages=[{"role": "user", "content": [part]}])
    assert (told.status, house.sent) == (400, [])


@pytest.mark.parametrize(
    ("provider", "url"),
    [("vllm", "https://x.test/a.png"), ("vllm", "data:image/png;base64,AA=="), ("openai", "http://10.0.0.1/")],
)
async def test_other_media_pass(tmp_path: Path, provider: str, url: str) -> None:
    house = house_of(tmp_path, "chat", provider)
    content = [{"type": "image_url", "image_url": {"url": url}}]
    assert (await ask(house, "chat", messages=[{"role": "user", "content": content}])).status == 200


@pytest.mark.parametrize("name", ["data_sources", "dataSources"])
async def test_azure_reads_no_data_of_the_clients_choice(tmp_path: Path, name: str) -> None:
    house = house_of(tmp_path, "chat", "azure")
    assert (await ask(house, "chat", **{name: [{"type": "azure_search"}]})).status == 400


async def test_a_text_that_names_a_stored_file_is_not_found(tmp_path: Path) -> None:
    house = house_of(tmp_path, "chat", "dashscope")
    assert (await ask(house, "chat", messages=[{"role": "system", "content": "fileid://file-fe-1"}])).status == 404
    house = house_of(tmp_path / "o", "chat", "openai")
    assert (await ask(house, "chat", messages=[{"role": "system", "content": "fileid://file-fe-1"}])).status == 200


@pytest.mark.parametrize("where", [{"generationConfig": {"routingConfig": {"manualMode": {"modelName": "dear"}}}}])
async def test_google_is_told_no_other_model(tmp_path: Path, where: dict[str, Any]) -> None:
    house = house_of(tmp_path, "generate", "google")
    assert (await ask(house, "generate", **where)).status == 400


def test_a_name_that_one_provider_need_not_be_asked_about_is_refused_at_another_all_the_same() -> None:
    call = call_of("chat", [{"role": "user", "content": "hi"}])
    call = call._replace(body={**call.body, "preset": "@preset/x"})

    def screened(provider: str) -> None:
        provider_fields.screen(call, Route("m", "up", provider, "m"), str, exact=True)

    for _ in range(2):  # the second time its names are known
        screened("openai")
        with pytest.raises(Refused) as refused:
            screened("openrouter")
        assert refused.value.refusal.param == "preset"


async def test_a_list_that_held_no_model_is_looked_into_again(tmp_path: Path) -> None:
    house = house_of(tmp_path, "chat", "openrouter")
    assert (await ask(house, "chat", extras=[{"depth": 1}])).status == 200
    assert (await ask(house, "chat", extras=[{"fallback_model": "dear"}])).status == 400


@pytest.mark.parametrize("provider", ["elevenlabs", "luma", "runway", "stability", "replicate"])
def test_a_host_of_its_own_models_is_no_router(provider: str) -> None:
    assert not provider_fields.is_router(provider)
    assert not provider_fields.is_self_hosted(provider)


def _at_fal(model: str, /, **body: object) -> Mapping[str, Any]:
    call = fal.parse(model, orjson.dumps(body))
    return provider_fields.screen(call, Route(model, "up", "fal", model), str, exact=True).body


@pytest.mark.parametrize("name", ["model_name", "model", "base_model", "unet_name", "scheduler_config", "models"])
def test_a_model_of_fals_has_parameters_of_any_name(name: str) -> None:
    """A LoRA's base (`model_name`), the network that cuts a picture out (`model`): no other model of fal's answers."""
    asked = {name: "stabilityai/stable-diffusion-xl-base-1.0"}
    assert _at_fal("fal-ai/lora", **asked) == asked


@pytest.mark.parametrize("model", ["fal-ai/any-llm", "fal-ai/any-llm/vision", "openrouter/router", "fal-ai/any-vlm"])
@pytest.mark.parametrize("name", ["model", "models", "model_name"])
def test_fals_ways_to_others_models_are_routers(model: str, name: str) -> None:
    with pytest.raises(Refused) as refused:
        _at_fal(model, **{name: "openai/o1-pro"})
    assert refused.value.refusal.param == name


@pytest.mark.parametrize("provider", ["perplexity", "pplx"])
@pytest.mark.parametrize(
    "fields",
    [
        {"thread_id": "t"},
        {"use_threads": True},
        {"_force_new_agent": True},
        {"_debug_pro_search": True},
        {"search_tenant": "x"},
    ],
)
async def test_no_conversation_that_a_provider_keeps_is_gone_on_with(
    tmp_path: Path, provider: str, fields: dict[str, Any]
) -> None:
    house = house_of(tmp_path, "chat", provider)
    told = await ask(house, "chat", **fields)
    assert told.status == 400, told.body
    assert next(iter(fields)) in told.body.decode()
    assert house.sent == []
