"""Any provider through any dialect: the real SDKs of OpenAI and Anthropic before fakes that check signatures and tokens.

What an SDK gets is the provider's answer in the SDK's own dialect; what the ledger has is the provider's own bill, to the
nano-dollar, though the two count in their own ways.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml

from tests.support import clouds
from tests.support.gateway import ADMIN_KEY
from tests.support.translation_rig import ASK, AZURE, FOUNDRY, KEY, MODELS, Rig, chat
from tests.support.waiting import eventually, wait_until

# What each caller's dialect is translated for; the rest is passed on as it is.
NATIVE = {("chat", "openai"), ("messages", "anthropic"), ("responses", "openai")}
TOOLLESS = {"cohere"}  # of these fakes
CALLERS = ("chat", "responses", "messages")
# One of the two, streamed or not, for each pair; TRANSLATION=all has both.
CASES = [
    (caller, provider, stream)
    for row, caller in enumerate(CALLERS)
    for column, provider in enumerate(MODELS)
    for stream in (False, True)
    if (caller, provider) not in NATIVE and (os.environ.get("TRANSLATION") == "all" or (row + column + stream) % 2)
]


# Azure's newer APIs, all of them: 42 calls of some milliseconds.
AZURES = [(caller, name, stream) for caller in CALLERS for name in AZURE for stream in (False, True)]
BILLED = {name: FOUNDRY for name in AZURE if name.startswith("foundry")}
STOPS = {"chat": ("stop", "tool_calls"), "responses": ("completed", "completed"), "messages": ("end_turn", "tool_use")}


@pytest.mark.parametrize(("caller", "provider", "stream"), [*CASES, *AZURES])
def test_an_answer_comes_in_the_callers_dialect_and_costs_what_the_provider_bills(
    rig: Rig, caller: str, provider: str, stream: bool
) -> None:
    biller = BILLED.get(provider, provider)
    billed = rig.bill().get(biller, {"calls": 0, "nanousd": 0})

    told = ASK[caller](rig, provider, "Name an animal with stripes.", stream)

    assert told.text == clouds.TEXT
    assert told.stop == STOPS[caller][0]
    entry, now = rig.entry(told.request_id), rig.bill()[biller]
    assert now["calls"] - billed["calls"] == 1
    assert round(float(entry["cost_usd"]) * 1e9) == now["nanousd"] - billed["nanousd"]
    assert entry["outcome"] == "ok"


OTHER_WAYS = [
    ("watsonx", "watsonx", False), ("watsonx", "watsonx", True), ("databricks", "databricks", False),
    ("databricks", "databricks", True), ("sagemaker", "sagemaker", False), ("sagemaker-stream", "sagemaker", True),
    ("bedrock-profile", "bedrock-profile", True), ("bedrock-role", "bedrock-role", False),
    ("bedrock-web-identity", "bedrock-role", False),
]  # fmt: skip


@pytest.mark.parametrize(("model", "billed_as", "stream"), OTHER_WAYS)
def test_other_ways_to_show_who_asks(rig: Rig, model: str, billed_as: str, stream: bool) -> None:
    """IBM's tokens, SageMaker's signatures, Databricks' keys; AWS's profiles and roles, assumed or by a web identity."""
    billed = rig.bill().get(billed_as, {"nanousd": 0})

    told = chat(rig, model, "Name an animal with stripes.", stream)

    assert told.text == clouds.TEXT
    entry = rig.entry(told.request_id)
    assert round(float(entry["cost_usd"]) * 1e9) == rig.bill()[billed_as]["nanousd"] - billed["nanousd"]
    # Of its frames LiteLLM's word is taken.
    assert ("translated_usage" in entry["flags"]) == (model == "sagemaker-stream")


@pytest.mark.parametrize(("caller", "provider", "stream"), [case for case in CASES if case[1] not in TOOLLESS])
def test_tools_are_called_side_by_side(rig: Rig, caller: str, provider: str, stream: bool) -> None:
    told = ASK[caller](rig, provider, "TOOL: look twice.", stream)

    assert told.tools == [("look", {"n": 0}), ("look", {"n": 1})]
    assert told.stop == STOPS[caller][1]


@pytest.mark.parametrize(
    ("caller", "provider"),
    [
        ("chat", "anthropic"), ("responses", "bedrock"), ("messages", "openai"), ("chat", "azure-entra"),
        ("responses", "azure-v1"), ("messages", "azure-own"), ("messages", "foundry"), ("responses", "foundry-claude"),
        ("chat", "foundry-deployed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_a_providers_no_is_told_in_the_callers_dialect(rig: Rig, caller: str, provider: str, stream: bool) -> None:
    """With its status, its own words, and when to try again; and it costs nothing."""
    billed = rig.bill()
    kinds = (openai.RateLimitError, anthropic.RateLimitError), (openai.BadRequestError, anthropic.BadRequestError)
    with pytest.raises(kinds[0]) as busy:
        ASK[caller](rig, provider, "BUSY", stream)
    with pytest.raises(kinds[1]) as wrong:
        ASK[caller](rig, provider, "WRONG", stream)

    assert busy.value.response.headers["retry-after"] == "7"
    assert "Too many requests, said the provider." in str(busy.value)
    assert "The provider does not like this." in str(wrong.value)
    entry = rig.entry(busy.value.response.headers["x-taximeter-request-id"])
    assert (entry["cost_usd"], entry["outcome"]) == ("0", "upstream_error")
    assert rig.bill() == billed


# One of three pairs; TRANSLATION=all has all of them.
HANG_UPS = [
    ("chat", "azure-v1"), ("responses", "azure-entra"), ("messages", "azure-own"), ("responses", "foundry"),
    ("messages", "foundry-claude"), ("chat", "foundry-deployed"),
] + [
    (caller, provider)
    for row, caller in enumerate(CALLERS)
    for column, provider in enumerate(MODELS)
    if (caller, provider) not in NATIVE and (os.environ.get("TRANSLATION") == "all" or (row + column) % 3 == 0)
]  # fmt: skip
PATHS = {"chat": "chat/completions", "responses": "responses", "messages": "messages"}


@pytest.mark.parametrize(("caller", "provider"), HANG_UPS)
def test_a_hang_up_reaches_the_provider(rig: Rig, caller: str, provider: str) -> None:
    biller = BILLED.get(provider, provider)
    before = rig.bill().get(biller, {}).get("hung_up", 0)
    said: dict[str, Any] = {"messages": [{"role": "user", "content": "ENDLESS"}], "max_tokens": 100}
    if caller == "responses":
        said = {"input": "ENDLESS", "max_output_tokens": 100, "store": False}
    headers = {"authorization": f"Bearer {KEY}"}
    asked = {"model": provider, "stream": True, **said}
    with httpx.stream(
        "POST", f"{rig.gateway.url}/v1/{PATHS[caller]}", json=asked, headers=headers, timeout=60
    ) as answer:
        next(answer.iter_lines())
        request_id = answer.headers["x-taximeter-request-id"]

    wait_until("the provider sees it", lambda: rig.bill().get(biller, {}).get("hung_up", 0) > before, 60)
    assert rig.entry(request_id)["outcome"] == "client_disconnected"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("caller", "provider"),
    [
        ("chat", "anthropic"),
        ("responses", "bedrock"),
        ("messages", "openai"),
        ("chat", "azure-v1"),
        ("chat", "mistral"),
    ],
)
def test_halves_of_characters_neither_end_an_answer_nor_change_its_bill(
    rig: Rig, caller: str, provider: str, stream: bool
) -> None:
    """A provider's pieces end where its tokens do; some servers write what stands there as half of a pair. Google's cannot:
    protocol buffers have none, and LiteLLM's reader of Gemini's answers ends at one."""
    billed = rig.bill().get(provider, {"nanousd": 0})

    told = ASK[caller](rig, provider, "HALVES", stream)

    assert _joined(told.text) == _joined("".join(clouds.HALVES))
    entry = rig.entry(told.request_id)
    assert round(float(entry["cost_usd"]) * 1e9) == rig.bill()[provider]["nanousd"] - billed["nanousd"]
    assert (entry["outcome"], entry["flags"]) == ("ok", [])


def _joined(text: str) -> str:
    """A text with its halves put together, and those that stay alone replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


HELLO = [{"role": "user", "content": "Hello."}]


@pytest.mark.parametrize(
    ("path", "body", "dropped"),
    [
        ("/v1/chat/completions", {"model": "anthropic", "messages": HELLO, "seed": 1, "store": True}, "seed"),
        ("/v1/chat/completions", {"model": "anthropic", "messages": HELLO, "metadata": {"a": "b"}}, "metadata"),
        ("/v1/responses", {"model": "anthropic", "input": "x", "tools": [{"type": "web_search"}]}, "tools.web_search"),
        (
            "/v1/messages",
            {"model": "openai", "messages": HELLO, "max_tokens": 9, "top_k": 3, "invented": 1},
            "invented",
        ),
    ],
)
def test_what_cannot_be_expressed_is_dropped_by_name(rig: Rig, path: str, body: dict[str, Any], dropped: str) -> None:
    answer = rig.post(path, body)

    assert answer.status_code == 200, answer.text
    assert answer.headers["x-taximeter-dropped-fields"] == dropped
    assert clouds.TEXT in answer.text


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/chat/completions", {"model": "anthropic", "messages": HELLO, "n": 2}, "n"),
        ("/v1/responses", {"model": "anthropic", "input": "x", "conversation": "c"}, "conversation"),
        (
            "/v1/messages",
            {
                "model": "openai",
                "messages": HELLO,
                "max_tokens": 9,
                "mcp_servers": [{"type": "url", "url": "https://example.com"}],
            },
            "mcp_servers",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(rig: Rig, path: str, body: dict[str, Any], named: str) -> None:
    billed = rig.bill()

    answer = rig.post(path, body)

    assert answer.status_code in (400, 404), answer.text
    assert named in answer.text
    assert rig.bill() == billed


def test_a_cap_that_is_higher_than_the_ceiling_is_never_sent(rig: Rig) -> None:
    """Thinking that needs more room than its cap leaves: LiteLLM would raise the cap on its own."""
    billed = rig.bill()
    body = {
        "model": "anthropic",
        "messages": HELLO,
        "max_tokens": 1000,
        "thinking": {"type": "enabled", "budget_tokens": 20_000},
    }

    answer = rig.post("/v1/chat/completions", body)

    spent = rig.bill()["anthropic"]["nanousd"] - billed.get("anthropic", {"nanousd": 0})["nanousd"]
    assert answer.status_code == 400 or spent <= 1000 * clouds.PRICE["output"], answer.text


def test_embeddings_are_translated(rig: Rig) -> None:
    told = rig.openai.embeddings.create(model="azure", input="zebra", encoding_format="float")

    assert told.data[0].embedding == [0.25, -0.5]
    assert told.usage.prompt_tokens == 6


def test_neither_prompts_nor_credentials_are_in_the_log(rig: Rig) -> None:
    with pytest.raises(openai.BadRequestError):
        chat(rig, "bedrock", "WRONG zebra-in-the-log", False)

    log = rig.gateway.log.read_text()
    assert "zebra-in-the-log" not in log
    assert not [secret for secret in (clouds.KEY, clouds.AWS_SECRET, "PRIVATE KEY", KEY) if secret in log]


def workers(rig: Rig) -> list[int]:
    """The translator's processes that serve."""
    found = []
    for pid in rig.gateway.members():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().startswith("taximeter-worke"):
                found.append(pid)
    return found


def test_a_new_configuration_takes_new_workers(rig: Rig) -> None:
    (old,) = eventually(lambda: workers(rig), lambda found: len(found) == 1, 60)
    rows = yaml.safe_load(rig.gateway.config_file.read_text())
    rows["models"]["another"] = rows["models"]["anthropic"]
    rig.gateway.config_file.write_text(yaml.safe_dump(rows))
    assert rig.gateway.process is not None
    rig.gateway.process.send_signal(signal.SIGHUP)

    wait_until("another worker serves", lambda: workers(rig) and old not in workers(rig), 60)
    assert chat(rig, "another", "Again.", False).text == clouds.TEXT


def test_a_translator_that_dies_costs_its_calls_a_clean_error_and_nothing_else(rig: Rig) -> None:
    """Killed again and again under load: no call is missing in the ledger, none is there twice, none is held for ever.

    KILLS=100 is what was promised; the tests of every day do with fewer.
    """
    kills, threads = int(os.environ.get("KILLS", "3")), 6
    ended: list[tuple[str, bool]] = []
    over = threading.Event()

    def load() -> None:
        with httpx.Client(timeout=60, headers={"authorization": f"Bearer {KEY}"}) as client:
            while not over.is_set():
                body = {
                    "model": "anthropic",
                    "messages": [{"role": "user", "content": "SLOW"}],
                    "max_tokens": 100,
                    "stream": True,
                }
                with client.stream("POST", f"{rig.gateway.url}/v1/chat/completions", json=body) as answer:
                    text = answer.read().decode()
                    fine = '"finish_reason":"stop"' in text  # the answer is whole, whatever became of what follows it
                    assert fine or '"error"' in text, text
                    ended.append((answer.headers["x-taximeter-request-id"], fine))

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(load) for _ in range(threads)]
        try:
            for _ in range(kills):
                done = len(ended)
                wait_until("calls are answered", lambda done=done: len(ended) >= done + threads, 60)
                (pid,) = eventually(lambda: workers(rig), lambda found: len(found) == 1, 60)
                os.kill(pid, signal.SIGKILL)
        finally:
            over.set()
    for one in running:
        one.result()

    entries = [rig.entry(request_id) for request_id, _ in ended]
    broken = [fine for _, fine in ended].count(False)
    print(f"{kills} kills: {len(ended)} calls, {broken} cut off")
    assert broken >= kills / 2, "the kills met no call"
    assert [one for one, (_, fine) in zip(entries, ended, strict=True) if (one["outcome"] == "ok") != fine] == []
    assert len({one["id"] for one in entries}) == len(ended)
    assert chat(rig, "anthropic", "Again.", False).text == clouds.TEXT
    budget = httpx.get(
        f"{rig.gateway.admin_url}/api/budgets/all", headers={"authorization": f"Bearer {ADMIN_KEY}"}
    ).json()
    assert {float(group["reserved_usd"]) for group in budget["groups"]} == {0.0}
    assert rig.gateway.verified()["ok"]


@pytest.mark.parametrize("provider", ["bedrock", "cohere"])
def test_no_url_of_a_caller_is_fetched(rig: Rig, provider: str) -> None:
    """LiteLLM fetches images for providers that take none by URL; from here, that would be anybody's way into the network."""
    image = {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{rig.port}/bedrock/secret.png"}}
    body = {"model": provider, "messages": [{"role": "user", "content": [image]}], "max_tokens": 50}
    billed = rig.bill()

    answer = rig.post("/v1/chat/completions", body)

    assert "secret.png" not in httpx.get(f"http://127.0.0.1:{rig.port}/_fetched").text
    if answer.status_code != 200:
        assert answer.status_code == 400, answer.text
        assert "URLs of files" in answer.text
        assert rig.bill() == billed


@pytest.mark.parametrize(
    "model",
    [
        "bedrock-agent/ABCDEF/GHIJKL",
        "bedrock-agentcore/arn:aws:bedrock-agentcore:us-west-2:1:runtime/x",
        "azure-responses/our-mini",
        "vertex-agent_engine/1",
    ],
)
def test_no_name_of_a_model_leads_to_an_agent_or_another_api(rig: Rig, model: str) -> None:
    """Where clients choose models of a provider by a pattern: LiteLLM reads more than a model in some names."""
    billed = rig.bill()

    answer = rig.post("/v1/chat/completions", {"model": f"any-{model}", "messages": HELLO, "max_tokens": 9})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found"), answer.text
    assert rig.bill() == billed
    assert (
        chat(rig, "any-bedrock-global.anthropic.claude-sonnet-4-5-20250929-v1:0", "Hello.", False).text == clouds.TEXT
    )
