"""Server × call kind: what the ledger has is what the server's own counters say, hang-ups and those in prefill included; and
what its machine cost is what the calls had of it and what was idle.

The servers are llama.cpp's, and with `make vllm` vLLM's, each with a small model of random weights. Its provider's name decides
what is asked of it, as for one that somebody else started. Its limits are not configured: it is asked for them.
"""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.own_servers import Counters, LlamaCpp, OwnServer, Vllm
from tests.support.waiting import eventually

KEY = "sk-local-0000000000000001"
USD_PER_HOUR = Decimal("3.60")
CAP = 24
STORY = "Tell a very long story of a spider, with many words."
LONG = "Once there was a spider that counted its legs, and there were eight of them. "  # 17 tokens


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
    server: OwnServer
    calls: int = 0

    def counters(self) -> Counters:
        return self.server.counters()

    def api(self, path: str, **params: str) -> Any:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.get(f"{self.gateway.admin_url}{path}", params=params, headers=headers).raise_for_status().json()

    def session(self) -> str:
        self.calls += 1
        return f"matrix-{self.calls}"

    def entry(self, session: str) -> dict[str, Any]:
        def ask() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = self.api("/api/requests", session=session)["items"]
            return items

        (entry,) = eventually(ask, bool, 60)
        return entry

    def settled_counters(self, before: Counters) -> Counters:
        """What it has counted since then, when it counts no more."""

        def ask() -> tuple[Counters, bool]:
            now = self.counters()
            time.sleep(0.3)  # a step of the model; two readings apart say that it has stopped
            if busy := _busy(self):
                # llama.cpp looks for its caller when nobody has got an answer of it for a second: who asks how it is
                # more often than that keeps it at work for a caller that has left.
                time.sleep(1.3)
            return now - before, not busy and now == self.counters()

        return eventually(ask, lambda seen: seen[1], 60)[0]


# vLLM's model of two layers reads a prompt in no time, but for this: few tokens in each step.
_VLLM = ("--enable-prompt-tokens-details", "--max-num-batched-tokens", "16", "--max-num-seqs", "8")


@pytest.fixture(scope="module", params=["llama.cpp", pytest.param("vllm", marks=pytest.mark.vllm)])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("matrix")
    own = LlamaCpp(folder) if request.param == "llama.cpp" else Vllm(folder, *_VLLM)
    try:
        with gateway(folder, config(folder, own)) as made:
            rig = Rig(made, own)
            for name in KINDS:  # it knows the server's pace from then on
                _whole(rig, name, "One, two, three,", rig.session())
            yield rig
    finally:
        own.stop()


@pytest.fixture(scope="module", params=[pytest.param("vllm", marks=pytest.mark.vllm)])
def pooling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One that embeds."""
    folder = tmp_path_factory.mktemp("pooling")
    own = Vllm(folder, "--runner", "pooling", "--convert", "embed")
    try:
        with gateway(folder, config(folder, own)) as made:
            yield Rig(made, own)
    finally:
        own.stop()


def config(folder: Path, own: OwnServer) -> dict[str, Any]:
    return {
        "upstreams": {"own": {"base_url": own.base_url, "api_key": own.api_key, "provider": own.provider}},
        "models": {own.model: {"upstream": "own"}},
        "prices": [{"provider": own.provider, "model": "*", "input": "0.1", "cache_read": "0.01", "output": "0.4"}],
        "capacity": [
            {
                "name": "machine",
                "upstreams": ["own"],
                "usd_per_hour": str(USD_PER_HOUR),
                "metrics_url": own.metrics_url,
                "metrics_key": own.api_key,
                "power": {"watts": 65, "idle_watts": 10},
                "compare": ["openai/gpt-5-mini"],
            },
        ],
        "server": server(),
        "keys": [{"name": "me", "key": KEY}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }


def usage_of(entry: dict[str, Any]) -> Counters:
    used = {unit: int(count) for unit, count in entry["usage"].items()}
    computed = sum(count for unit, count in used.items() if unit == "input" or unit.startswith("cache_write"))
    return Counters(computed, used.get("cache_read", 0), used.get("output", 0))


def _whole(rig: Rig, name: str, text: str, session: str, cap: int = CAP, **fields: Any) -> None:
    """A whole answer of a few tokens, read to its end."""
    kind = KINDS[name]
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    body = {"model": rig.server.model, **kind.body(text, cap), **fields}
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
        self._connection.request("POST", kind.path, orjson.dumps({"model": rig.server.model, **body}), headers)
        self._response: http.client.HTTPResponse | None = None

    def read_data(self, events: int) -> None:
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        while events:
            line = self._response.readline()
            assert line
            events -= line.startswith(b"data:")

    def read_to_the_end(self) -> None:
        assert self._response is not None
        self._response.read()
        self._connection.close()

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
    body = {"model": rig.server.model, "prompt": "One, two, three, four, five,"}
    assert httpx.post(f"{rig.gateway.url}/v1/completions", json=body, headers=headers, timeout=60).status_code == 200
    assert int(rig.entry(session)["usage"]["output"]) <= 16


@pytest.mark.parametrize("name", KINDS)
def test_a_stream_that_is_left_costs_what_the_server_had_counted(rig: Rig, name: str) -> None:
    before, session, kind = rig.counters(), rig.session(), KINDS[name]
    cap = rig.server.endless
    talking = Talking(rig, kind, session, kind.body(f"{name}: {STORY}", cap) | {"stream": True, "temperature": 0})
    talking.read_data(10)
    with rig.server.left_by(1):
        talking.leave()
    entry, counted = rig.entry(session), rig.settled_counters(before)
    used = usage_of(entry)
    assert (entry["status"], entry["outcome"]) == ("settled", "client_disconnected")
    assert counted.predicted < cap
    if rig.server.provider == "vllm" and name in ("responses", "messages"):  # which state no output before their end
        assert entry["usage_source"] == "estimated"
        assert abs(counted.prompt + counted.cached - used.prompt - used.cached) <= (10 if name == "responses" else 0)
        assert 5 <= used.predicted <= 2 * counted.predicted + 20  # by its text, which random weights write
        return
    # What it writes until it knows, nobody gets, and on a busy machine that is much. Charged is what came, and no more than it
    # counted (but for two tokens, which it sends before it counts them).
    assert 5 <= used.predicted <= counted.predicted + 2
    assert used.prompt + used.cached == counted.prompt + counted.cached


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", KINDS)
def test_who_leaves_before_anything_came_stops_the_server(rig: Rig, name: str, stream: bool) -> None:
    """In prefill of a long prompt, when the server has begun with it: charged is the prompt, and of a whole answer what may
    have been written by then; never the ceiling. Who waits for a whole answer is looked after once a second by llama.cpp, and a
    quick one has read the prompt by then. Prefill is the server's, whatever is asked of it: one kind has to have met it."""
    must = stream and name == "chat"
    tries = 10 if must else 3 if stream else 1
    in_prefill = any(_left_in_prefill(rig, name, stream) for _ in range(tries))
    assert in_prefill or not must


def _left_in_prefill(rig: Rig, name: str, stream: bool) -> bool:
    """Whether the server was still reading then."""
    _whole(rig, name, "Say yes.", rig.session(), cap=1)  # a pace at which the ceiling is never reached
    before, session, kind, cap = rig.counters(), rig.session(), KINDS[name], rig.server.endless
    body = kind.body(f"{session} {LONG * rig.server.long}", cap) | {"stream": stream}
    talking = Talking(rig, kind, session, body)
    eventually(lambda: _busy(rig), bool)
    # Who waits for a whole answer is looked after once a second: a server that stands still meanwhile would not look.
    with rig.server.left_by(1) if stream else contextlib.nullcontext():
        talking.leave()
    entry, counted = rig.entry(session), rig.settled_counters(before)
    used = usage_of(entry)
    assert (entry["status"], entry["outcome"]) == ("settled", "client_disconnected")
    assert counted.predicted < cap  # it stopped; a busy machine takes some seconds to tell it
    in_prefill = not counted.predicted
    assert used.predicted == 0 if stream and in_prefill else used.predicted < cap
    assert counted.prompt <= rig.server.context_tokens
    # vLLM counts nothing of what it stopped reading (prompts are counted with their first token), llama.cpp what it had read.
    assert counted.prompt + counted.cached <= used.prompt + used.cached <= rig.server.context_tokens
    return in_prefill


def _busy(rig: Rig) -> bool:
    return rig.server.busy()


def test_what_the_server_has_cached_is_told_as_that(rig: Rig) -> None:
    text = f"{rig.session()} {LONG * 25}"
    _whole(rig, "chat", text, rig.session())
    before, session = rig.counters(), rig.session()
    _whole(rig, "chat", text, session)
    used = usage_of(rig.entry(session))
    assert used == rig.settled_counters(before)
    assert used.cached > 100


def test_several_at_once_of_which_half_are_left(rig: Rig) -> None:
    before, kind = rig.counters(), KINDS["chat"]
    sessions = [rig.session() for _ in range(4)]
    talking = []
    for session, cap in zip(sessions, (60, 60, rig.server.endless, rig.server.endless), strict=True):
        talking.append(Talking(rig, kind, session, kind.body(f"{session}: {STORY}", cap) | {"stream": True}))
    for talk in talking:
        talk.read_data(3)  # a busy vLLM puts several tokens into an event
    with rig.server.left_by(2):
        for talk in talking[2:]:
            talk.leave()
    for talk in talking[:2]:
        talk.read_to_the_end()
    used = [usage_of(rig.entry(session)) for session in sessions]
    counted = rig.settled_counters(before)
    assert sum(one.prompt + one.cached for one in used) == counted.prompt + counted.cached
    assert 8 <= sum(one.predicted for one in used) <= counted.predicted + 4


def test_two_sequences_of_one_call(rig: Rig) -> None:
    """llama.cpp states the first one's tokens alone: it is not asked for more than one."""
    before, session, kind = rig.counters(), rig.session(), KINDS["chat"]
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    body = {"model": rig.server.model, "n": 2, **kind.body("Name two animals.", CAP)}
    answer = httpx.post(rig.gateway.url + kind.path, json=body, headers=headers, timeout=60)
    if rig.server.provider == "llama.cpp":
        assert answer.status_code == 400
        return
    assert answer.status_code == 200, answer.text
    used, counted = usage_of(rig.entry(session)), rig.settled_counters(before)
    assert used.predicted == counted.predicted
    # It reads the prompt for each, and tells it once.
    assert 2 * (used.prompt + used.cached) == counted.prompt + counted.cached


def test_a_limit_that_nobody_configured_is_the_servers(rig: Rig) -> None:
    """Reserved is what its context has room for, and no 16,384 that nobody asked for."""
    session = rig.session()
    talking = Talking(rig, KINDS["chat"], session, _messages("Say yes.", None) | {"stream": True})
    talking.read_data(3)
    talking.leave()  # the rest of a context takes a slow machine minutes
    reserved, context = float(rig.entry(session)["reserved_usd"]), rig.server.context_tokens
    assert context * 0.3e-6 < reserved <= context * 0.5e-6 + 1e-9


@pytest.mark.parametrize(
    "given",
    ["A spider has eight legs.", ["One.", "Two and three.", STORY], [5, 6, 7, 8, 9], [[5, 6, 7], [8, 9]], LONG * 60],
    ids=["text", "list", "tokens", "lists of tokens", "long"],
)
def test_embeddings_cost_what_the_server_counted(pooling: Rig, given: Any) -> None:
    before, session = pooling.counters(), pooling.session()
    headers = {"authorization": f"Bearer {KEY}", "x-taximeter-session-id": session}
    body = {"model": pooling.server.model, "input": given}
    answer = httpx.post(f"{pooling.gateway.url}/v1/embeddings", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    entry = pooling.entry(session)
    used, counted = usage_of(entry), pooling.settled_counters(before)
    assert (entry["status"], entry["operation"], entry["usage_source"]) == ("settled", "embeddings", "provider")
    assert used.prompt + used.cached == counted.prompt + counted.cached > 0
    assert used.predicted == 0


def test_a_machine_that_embeds_costs_what_calls_had_and_what_was_idle(pooling: Rig) -> None:
    adds_up(pooling)


def test_the_machine_costs_what_calls_had_what_others_had_and_what_was_idle(rig: Rig) -> None:
    """Over all of the calls before, hang-ups among them, to the nano-dollar; closed or not."""
    shown = adds_up(rig)
    assert shown["joules"] > 0
    assert {level["calls_at_once"] for level in shown["levers"]["batching"]} >= {1, 2}


def adds_up(rig: Rig) -> dict[str, Any]:
    shown: dict[str, Any] = rig.api("/api/capacity/machine", by="session,model")
    parts = [Decimal(shown[f"{part}_usd"]) for part in ("busy", "idle", "outside")]
    assert sum(parts) == Decimal(shown["cost_usd"]) > 0
    assert sum(Decimal(group["capacity_usd"]) for group in shown["groups"]) == parts[0] > 0
    seconds = (datetime.fromisoformat(shown["until"]) - datetime.fromisoformat(shown["since"])).total_seconds()
    assert 0 < Decimal(shown["cost_usd"]) <= Decimal("0.001") * Decimal(seconds)
    entries = rig.api("/api/requests", limit="1000", until=shown["until"])["items"]
    used = [usage_of(entry) for entry in entries if entry["status"] != "void"]
    told = shown["usage"]
    assert told.get("output", 0) == sum(one.predicted for one in used)
    assert told["input"] + told.get("cache_read", 0) == sum(one.prompt + one.cached for one in used)
    assert shown["server"]["minutes"] >= 1
    return shown


def test_what_it_costs_at_each_number_of_calls_at_once(rig: Rig) -> None:
    """$ per million tokens of output while so many ran, beside the same by the clock on the wall; printed with -s."""
    for calls in (1, 2, 4, 8) if rig.server.provider == "vllm" else (1, 2):  # the embedded server has few slots
        before = _level(rig, calls)
        began = time.monotonic()
        with ThreadPoolExecutor(calls) as pool:
            sessions = list(pool.map(lambda _: _written(rig), range(calls)))
        wall = time.monotonic() - began
        # All are in the ledger from here on.
        tokens = sum(usage_of(rig.entry(session)).predicted for session in sessions)
        seconds, written, usd = (now - was for now, was in zip(_level(rig, calls), before, strict=True))
        shown = f"${usd * 10**6 / written:.2f}" if written else "–"
        by_hand = Decimal(wall) * USD_PER_HOUR / 3600 * 10**6 / tokens
        cost = f"{shown} per million, by hand ${by_hand:.2f}"
        print(f"{rig.server.provider}: {calls} at once: {cost}; {seconds:.2f} of {wall:.2f} s")
        assert seconds <= Decimal(wall) + Decimal("0.5")
        if calls == 1:
            assert written == tokens


def _written(rig: Rig) -> str:
    session = rig.session()
    _whole(rig, "chat", f"{session}: {STORY}", session, cap=400)
    return session


def _level(rig: Rig, calls: int) -> tuple[Decimal, Decimal, Decimal]:
    """How long so many ran, what they wrote and what it cost."""
    levels = rig.api("/api/capacity/machine")["levers"]["batching"]
    none = {"seconds": 0, "output_tokens": 0, "usd": "0"}
    level = next((one for one in levels if one["calls_at_once"] == calls), none)
    return Decimal(str(level["seconds"])), Decimal(level["output_tokens"]), Decimal(level["usd"])
