"""Calls to make, drawn from a seed: who calls, what is asked, what is ordered of the provider, how the caller leaves.

Pure: the same `Traffic` and number give the same `Wish`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import orjson

from .client import Leave
from .formats import words
from .orders import Law, Orders, write

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Caller:
    """A virtual key and what the gateway's configuration says of it."""

    name: str
    key: str
    team: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a run looks like. Weights are relative; ranges are drawn from evenly, both ends included."""

    calls: int = 100
    concurrency: int = 16
    rate: float = 0.0  # calls/s in an open loop; 0: a closed loop
    seed: int = 1
    callers: tuple[Caller, ...] = (Caller("direct", "sk-direct-0000000000"),)
    models: Mapping[str, float] = field(default_factory=lambda: {"tm-plain": 3.0, "tm-odd": 2.0, "tm-half": 1.0})
    kinds: Mapping[str, float] = field(default_factory=lambda: {"chat": 8.0, "completions": 1.0, "embeddings": 1.0})
    stream: float = 0.5  # share of calls that stream
    ask_usage: float = 0.5  # share of streams that ask for usage themselves
    ask_cost: float = 0.3  # share of streams that ask for the gateway's cost comment
    words: Range = (4, 60)
    out: Range = (0, 80)
    reason: float = 0.3  # share of calls with hidden reasoning
    cached: float = 0.4  # share of calls with cached input
    choices: Mapping[int, float] = field(default_factory=lambda: {1: 9.0, 3: 1.0})
    cap_slack: Range = (0, 40)  # the request's cap on output: what is ordered and so much more
    capless: float = 0.0  # share of calls without a cap
    tpc: Range = (1, 8)
    delay: Range = (0, 0)
    chunk_delay: Range = (0, 0)
    mode: Law = "bill_anyway"
    show: bool = False  # reasoning is streamed, so that a caller that left can be billed for what was seen
    faults: Mapping[str, float] = field(default_factory=dict)  # `fault=` orders and weights; "" for none
    faults_in_turn: tuple[str, ...] = ()  # in place of `faults`: call n has the n-th
    leave: Mapping[str, float] = field(default_factory=dict)  # manners and weights; "" for none
    leave_after: Range | None = None  # bytes; None: anywhere in the answer
    sessions: int = 0  # so many session ids are sent; 0: none
    retry_busy: bool = False  # call again at once after 429 `budget_busy`
    retry_away: bool = False  # the same, a moment later, after 503: what no call was made for is no call
    until_402: bool = False  # a caller goes on until it is refused for its budget; `calls` is then the most
    timeout_s: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict)


def from_json(text: str) -> Traffic:
    """Raises ValueError for unknown names."""
    given = json.loads(text)
    unknown = set(given) - {f.name for f in fields(Traffic)}
    if unknown:
        raise ValueError(f"traffic has no {', '.join(sorted(unknown))}")
    if "callers" in given:
        given["callers"] = tuple(Caller(**row) for row in given["callers"])
    given["faults_in_turn"] = tuple(given.get("faults_in_turn", ()))
    if "choices" in given:
        given["choices"] = {int(count): weight for count, weight in given["choices"].items()}
    for name in ("words", "out", "cap_slack", "tpc", "delay", "chunk_delay", "leave_after"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    return Traffic(**given)


def to_json(traffic: Traffic) -> str:
    return json.dumps(asdict(traffic))


@dataclass(frozen=True, slots=True)
class Wish:
    """One call: where, as whom, with which body, and how the caller behaves."""

    nonce: str
    caller: Caller
    path: str
    model: str
    stream: bool
    asks_usage: bool
    session: str | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    orders: Orders
    leave: Leave | None


PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
}


def draw(traffic: Traffic, number: int, attempt: int = 0) -> Wish:
    """Call `number`; every `attempt` at it is the same but for its nonce."""
    rng = random.Random(traffic.seed * 1_000_003 + number)
    kind = _pick(rng, traffic.kinds)
    caller = rng.choice(traffic.callers)
    model = "tm-embed" if kind == "embeddings" else _pick(rng, traffic.models)
    out, prompt_words = _between(rng, traffic.out), _between(rng, traffic.words)
    stream = kind != "embeddings" and rng.random() < traffic.stream
    in_turn = traffic.faults_in_turn
    faults = _faults(in_turn[number % len(in_turn)] if in_turn else _pick(rng, traffic.faults))
    orders = Orders(
        nonce=f"{traffic.seed}-{number}-{attempt}",
        out=out,
        reason=rng.randint(0, out) if rng.random() < traffic.reason else 0,
        cached=rng.randint(0, prompt_words) if rng.random() < traffic.cached else 0,
        delay=rng.uniform(*traffic.delay),
        chunk_delay=rng.uniform(*traffic.chunk_delay),
        tpc=_between(rng, traffic.tpc),
        faults=faults,
        mode=traffic.mode,
        show=traffic.show,
    )
    asks_usage = stream and rng.random() < traffic.ask_usage
    choices = _pick(rng, traffic.choices) if kind in ("chat", "completions") else 1
    cap = None if rng.random() < traffic.capless else max(1, out + _between(rng, traffic.cap_slack))
    body = _body(kind, model, f"{words(prompt_words)} {write(orders)}", stream, asks_usage, choices, cap)
    headers = list(traffic.headers.items())
    session = f"session-{traffic.seed}-{caller.team}-{rng.randrange(traffic.sessions)}" if traffic.sessions else None
    if session:
        headers.append(("x-taximeter-session-id", session))
    if stream and rng.random() < traffic.ask_cost:
        headers.append(("x-taximeter-stream-cost", "1"))
    leave = _leave(rng, traffic, stream, orders)
    path = PATHS[kind].replace("{model}", model)
    if kind == "gemini" and stream:
        path = path.replace(":generate", ":streamGenerate") + "?alt=sse"
    return Wish(
        orders.nonce,
        caller,
        path,
        model,
        stream,
        asks_usage,
        session,
        tuple(headers),
        orjson.dumps(body),
        orders,
        leave,
    )


def _body(
    kind: str, model: str, prompt: str, stream: bool, asks_usage: bool, choices: int, cap: int | None
) -> dict[str, Any]:
    if kind == "gemini":
        limits = {"candidateCount": choices} | ({"maxOutputTokens": cap} if cap is not None else {})
        return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": limits}
    body: dict[str, Any] = {"model": model} | ({"stream": True} if stream else {})
    if kind == "chat":
        body["messages"] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    elif kind == "messages":
        body |= {"system": "Be brief.", "messages": [{"role": "user", "content": prompt}], "max_tokens": cap or 4096}
    else:
        body["prompt" if kind == "completions" else "input"] = prompt
    if kind == "responses":
        body |= {"max_output_tokens": cap} if cap is not None else {}
    elif kind in ("chat", "completions"):
        body |= {"max_tokens": cap} if cap is not None else {}
        body |= {"n": choices} if choices > 1 else {}
        body |= {"stream_options": {"include_usage": True}} if asks_usage else {}
    return body


def _leave(rng: random.Random, traffic: Traffic, stream: bool, orders: Orders) -> Leave | None:
    manner = _pick(rng, traffic.leave)
    if not manner:
        return None
    if traffic.leave_after is not None:
        after = _between(rng, traffic.leave_after)
    else:
        events = 3 + (orders.out or 0) // max(1, orders.tpc)
        after = rng.randint(0, 400 + (240 * events if stream else 6 * (orders.out or 0)))
    return Leave(manner, after, hold_s=rng.uniform(0.1, 1.0))


def _pick(rng: random.Random, weights: Mapping[Any, float]) -> Any:
    if not weights:
        return ""
    names: Sequence[Any] = list(weights)
    return rng.choices(names, [weights[name] for name in names])[0]


def _between(rng: random.Random, ends: Range) -> int:
    return rng.randint(int(ends[0]), int(ends[1]))


def _faults(ordered: str) -> tuple[tuple[str, str], ...]:
    return tuple((f.partition("@")[0], f.partition("@")[2]) for f in ordered.split("+") if f)
