"""The real SDKs before llama.cpp's server, configured as `make run` configures itself: chat, Responses and Messages, streamed
and not.

What each SDK was told it used is what the ledger has, to the token, and what the model server's own counters say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
import pytest

from proxy.config.without_file import local_tree
from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.own_servers import LlamaCpp
from tests.support.waiting import eventually

# The start-up configuration's invented prices, in nano-USD for each token.
NANO = {"input": 100, "cache_read": 10, "output": 400}
CAP = 12
MODEL = LlamaCpp.model
KEY = "sk-local-0000000000000001"


@dataclass(frozen=True, slots=True)
class Told:
    """What an SDK understood of an answer."""

    text: str
    used: dict[str, int]


def used(whole_input: int, cached: int, output: int) -> dict[str, int]:
    counts = {"input": whole_input - cached, "cache_read": cached, "output": output}
    return {unit: count for unit, count in counts.items() if count}


def ask(kind: str) -> str:
    return f"{kind}: name three animals with stripes."


def chat(client: openai.OpenAI, stream: bool) -> Told:
    asked: Any = {
        "model": MODEL,
        "max_tokens": CAP,
        "messages": [{"role": "user", "content": ask(f"chat {stream}")}],
    }
    if stream:
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        usage = chunks[-1].usage
    else:
        whole = client.chat.completions.create(**asked)
        text, usage = whole.choices[0].message.content or "", whole.usage
    assert usage is not None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    return Told(text, used(usage.prompt_tokens, cached or 0, usage.completion_tokens))


def responses(client: openai.OpenAI, stream: bool) -> Told:
    asked: Any = {"model": MODEL, "max_output_tokens": CAP, "input": ask(f"responses {stream}")}
    if stream:
        events = list(client.responses.create(**asked, stream=True))
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        usage = events[-1].response.usage
    else:
        whole = client.responses.create(**asked)
        text, usage = whole.output_text, whole.usage
    assert usage is not None
    return Told(text, used(usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens))


def messages(client: anthropic.Anthropic, stream: bool) -> Told:
    asked: Any = {
        "model": MODEL,
        "max_tokens": CAP,
        "messages": [{"role": "user", "content": ask(f"msg {stream}")}],
    }
    if stream:
        with client.messages.stream(**asked) as events:
            text = "".join(events.text_stream)
            usage = events.get_final_message().usage
    else:
        whole = client.messages.create(**asked)
        text, usage = whole.content[0].text, whole.usage
    cached = usage.cache_read_input_tokens or 0
    return Told(text, used(usage.input_tokens + cached, cached, usage.output_tokens))


@dataclass(frozen=True, slots=True)
class LocalRig:
    """A gateway before a server of one's own, configured as it configures itself where it has no configuration."""

    gateway: Gateway
    model: LlamaCpp

    @property
    def base_url(self) -> str:
        return f"{self.gateway.url}/v1"

    def api(self, path: str, **params: str) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.get(self.gateway.admin_url + path, params=params, headers=headers).raise_for_status().json()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRig]:
    folder = tmp_path_factory.mktemp("sdks-local")
    model = LlamaCpp(folder)
    config = local_tree(model.base_url, model.model, model.context_tokens, model.api_key) | {
        "server": server(),
        "keys": [{"name": "me", "key": KEY}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }
    try:
        with gateway(folder, config) as made:
            yield LocalRig(made, model)
    finally:
        model.stop()


CALLS: list[tuple[Callable[..., Told], str]] = [(chat, "chat"), (responses, "responses"), (messages, "messages")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("call", "operation"), CALLS, ids=[name for _, name in CALLS])
def test_the_sdk_the_ledger_and_the_model_server_agree(
    running: LocalRig, call: Callable[..., Told], operation: str, stream: bool
) -> None:
    before = running.model.counters()
    session = f"local-{operation}-{stream}"
    make: Any = anthropic.Anthropic if call is messages else openai.OpenAI
    base_url = running.base_url.removesuffix("/v1") if call is messages else running.base_url
    headers = {"x-taximeter-session-id": session}
    with make(base_url=base_url, api_key=KEY, max_retries=0, default_headers=headers) as client:
        told = call(client, stream)
    assert told.text
    assert 0 < told.used["output"] <= CAP

    (entry,) = eventually(lambda: running.api("/api/requests", session=session)["items"], bool)
    assert (entry["operation"], entry["stream"], entry["status"]) == (operation, stream, "settled")
    assert {unit: int(count) for unit, count in entry["usage"].items() if int(count)} == told.used
    nano = sum(NANO[unit] * count for unit, count in told.used.items())
    assert Decimal(entry["cost_usd"]) == Decimal(nano) / 10**9
    counted = eventually(running.model.counters, lambda seen: seen != before)
    assert counted.predicted - before.predicted == told.used["output"]


def test_tokens_are_counted_free_of_charge(running: LocalRig) -> None:
    with anthropic.Anthropic(base_url=running.base_url.removesuffix("/v1"), api_key=KEY) as client:
        count = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert count.input_tokens > 0
    free = eventually(
        lambda: [i for i in running.api("/api/requests")["items"] if i["operation"] == "count_tokens"], bool
    )
    assert [Decimal(entry["cost_usd"]) for entry in free] == [0]


def test_a_stream_whose_client_leaves_is_charged_by_the_servers_own_count(running: LocalRig) -> None:
    headers, cap = {"x-taximeter-session-id": "left"}, running.model.endless
    with openai.OpenAI(base_url=running.base_url, api_key=KEY, max_retries=0, default_headers=headers) as client:
        stream = client.chat.completions.create(
            model=MODEL,
            max_tokens=cap,
            messages=[{"role": "user", "content": "Tell a long story."}],
            stream=True,
        )
        got = [chunk for chunk, _ in zip(stream, range(9), strict=False)]
        with running.model.left_by(1):
            stream.close()

    assert not any("timings" in (chunk.model_extra or {}) for chunk in got)
    (entry,) = eventually(lambda: running.api("/api/requests", session="left")["items"], bool)
    assert (entry["status"], entry["outcome"]) == ("settled", "client_disconnected")
    assert entry["usage_source"] == "provider"
    assert len(got) - 1 <= int(entry["usage"]["output"]) < cap  # a chunk is a token; the first has none
