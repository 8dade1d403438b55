"""Server × call kind: what the ledger has is what llama.cpp's own counters say, hang-ups and those in prefill included.

The server is the embedded one; its provider's name decides what is asked of it, as for one that somebody else started. Its
limits are not configured: it is asked for them.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from proxy.serve.local_model import CONTEXT_TOKENS, MODEL_NAME, LocalModel, start_local_model
from tests.e2e.llama_counters import LlamaCounters, read_counters
from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.waiting import eventually

pytestmark = pytest.mark.xdist_group("local-model")  # it takes all cores: one at a time
KEY = "sk-local-0000000000000001"
CAP = 24
STORY = "Tell a very long story of a spider, with many words."
LONG = "Once there was a spider that counted its legs, and there were eight of them. " * 80  # some 1,400 tokens


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call: its path and body."""

    path: str
    body: Callable[[str, int | None], dict[str, Any]]


def _messages(text: str, cap: int | None) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]} | ({"max_tokens": cap} if cap else {})


def _prompt(text: str, cap: int | None) -> dict[str, Any]:
    return {"prompt": text} | ({"max_tokens": cap} if cap else {})


def _input(text: str, cap: int | None) -> dict[str, Any]:
    return {"input": text} | ({"max_output_tokens": cap} if cap else {})


KINDS = {
    "chat": Kind("/v1/chat/completions", _messages),
    "completions": Kind("/v1/completions", _prompt),
    "responses": Kind("/v1/responses", _input),
    "messages": Kind("/v1/messages", _messages),
}


@dataclass(slots=True)
class Rig:
    gateway: Gateway
    model: LocalModel
    calls: int = 0

    def counters(self) -> LlamaCounters:
        return read_counters(self.model.base_url, self.model.api_key)

    def session(self) -> str:
        self.calls += 1
        return f"matrix-{self.calls}"

    def entry(self, session: str) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}

        def ask() -> list[dict[str, Any]]:
            answer = httpx.get(f"{self.gateway.admin_url}/api/requests", params={"session": session}, headers=headers)
            items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
            return items

        (entry,) = eventually(ask, bool)
        return entry

    def settled_counters(self, before: LlamaCounters) -> LlamaCounters:
        """What it has counted since then, when it counts no more."""

        def ask() -> tuple[LlamaCounters, bool]:
            now = self.counters()
            time.sleep(0.3)  # a step of the model; two readings apart say that it has stopped
            return now - before, not _busy(self) and now == self.counters()

        return eventually(ask, lambda seen: seen[1])[0]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("matrix")
    model = start_local_model(folder)
    config = {
        "upstreams": {"own": {"base_url": model.base_url, "api_key": model.api_key, "provider": "llama.cpp"}},
        "models": {MODEL_NAME: {"upstream": "own"}},
        "prices": [{"provider": "llama.cpp", "model": "*", "input": "0.1", "cache_read": "0.01", "output": "0.4"}],
        "server": server(),
        "keys": [{"name": "me", "key": KEY}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }
    try:
        with gateway(folder, config) as made:
            rig = Rig(made, model)
            for name in KINDS:  # it knows the server's pace from then on
                _whole(rig, name, "One, two, three,", rig.session())
            yield rig
    finally:
        model.stop()


def usage_of(entry: dict[str, Any]) -> LlamaCounters:
    used = {unit: int(count) for unit, count in entry["usage"].items()}
    return LlamaCounters(used.get("input", 0), used.get("cache_read", 0), used.get("output", 0))


def _whole(rig: Rig, name: str, text: str, session: str, **fields: Any) -> None:
    """A whole answer of a few tokens, read to its end."""
    kind = KINDS[name]
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    body = {"model": MODEL_NAME, **kind.body(text, CAP), **fields}
    answer = httpx.post(rig.gateway.url + kind.path, json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


class Talking:
    """A call whose client reads as much of the answer as it likes, and hangs up."""

    def __init__(self, rig: Rig, kind: Kind, session: str, body: dict[str, Any]) -> None:
        parts = urlsplit(rig.gateway.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        headers = {
            "authorization": f"Bearer {KEY}", "content-type": "application/json", "x-taximeter-session-id": session,
        }  # fmt: skip
        self._connection.request("POST", kind.path, orjson.dumps({"model": MODEL_NAME, **body}), headers)
        self._response: http.client.HTTPResponse | None = None

    def read_data(self, events: int) -> None:
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        while events:
            line = self._response.readline()
            assert line
            events -= line.startswith(b"data:")

    def leave(self) -> None:
        if self._response is not None:
            self._response.close()
        self._connection.close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", KINDS)
def test_an_answer_costs_what_the_server_counted(rig: Rig, name: str, stream: bool) -> None:
    before, session = rig.counters(), rig.session()
    _whole(rig, name, f"{name} {stream}: name three animals with stripes.", session, stream=stream)
    entry = rig.entry(session)
    assert (entry["status"], entry["usage_source"]) == ("settled", "provider")
    assert usage_of(entry) == rig.settled_counters(before)


def test_completions_without_a_cap_end_where_their_reservation_does(rig: Rig) -> None:
    session = rig.session()
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    body = {"model": MODEL_NAME, "prompt": "One, two, three, four, five,"}
    assert httpx.post(f"{rig.gateway.url}/v1/completions", json=body, headers=headers, timeout=60).status_code == 200
    assert int(rig.entry(session)["usage"]["output"]) <= 16


@pytest.mark.parametrize("name", KINDS)
def test_a_stream_that_is_left_costs_what_the_server_had_counted(rig: Rig, name: str) -> None:
    before, session, kind = rig.counters(), rig.session(), KINDS[name]
    talking = Talking(rig, kind, session, kind.body(f"{name}: {STORY}", 800) | {"stream": True, "temperature": 0})
    talking.read_data(10)
    talking.leave()
    entry, counted = rig.entry(session), rig.settled_counters(before)
    used = usage_of(entry)
    assert (entry["status"], entry["outcome"]) == ("settled", "client_disconnected")
    assert counted.predicted < 800
    # It computes some steps that nobody gets: two, or as many as a busy machine takes to tell it.
    assert -2 <= counted.predicted - used.predicted <= 100
    assert used.prompt + used.cached == counted.prompt + counted.cached


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", KINDS)
def test_who_leaves_before_anything_came_stops_the_server(rig: Rig, name: str, stream: bool) -> None:
    """In prefill of a long prompt, when the server has begun with it: charged is the prompt, and of a whole answer what may
    have been written by then; never the ceiling."""
    before, session, kind = rig.counters(), rig.session(), KINDS[name]
    text = f"{session} {LONG}"
    talking = Talking(rig, kind, session, kind.body(text, 500) | {"stream": stream})
    eventually(lambda: _busy(rig), bool)
    talking.leave()
    entry, counted = rig.entry(session), rig.settled_counters(before)
    used = usage_of(entry)
    assert (entry["status"], entry["outcome"]) == ("settled", "client_disconnected")
    assert counted.predicted < 100  # it stopped
    assert used.predicted == 0 if stream else used.predicted < 200
    assert counted.prompt <= CONTEXT_TOKENS
    assert used.prompt + used.cached <= CONTEXT_TOKENS


def _busy(rig: Rig) -> bool:
    headers = {"authorization": f"Bearer {rig.model.api_key}"}
    text = httpx.get(rig.model.base_url.removesuffix("/v1") + "/metrics", headers=headers).raise_for_status().text
    return "llamacpp:requests_processing 0" not in text


def test_a_limit_that_nobody_configured_is_the_servers(rig: Rig) -> None:
    """Reserved is a context of 2,048, and no 16,384 that nobody asked for."""
    session = rig.session()
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": "Say yes."}], "stop": ["."]}
    answer = httpx.post(f"{rig.gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    assert float(rig.entry(session)["reserved_usd"]) <= CONTEXT_TOKENS * 0.5e-6 + 1e-9
