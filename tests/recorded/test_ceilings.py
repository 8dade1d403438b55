"""Ceilings against calls that real clients sent to real providers, with the usage that those stated: never below it.

`pytest -s tests/recorded` prints how loose they are: what is reserved for what is used, by each way of counting.
"""

from __future__ import annotations

import contextlib
import gzip
import statistics
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from pricing.units import INPUT_SIDE, TOKENS
from proxy.access.stored_owners import Holder, digest
from proxy.dialects import find
from proxy.errors import Refused
from proxy.exchange import forward, tighten
from proxy.exchange.attempt import Attempt
from proxy.types import Identity
from tests.flow.house import Answer, House
from tests.recorded.make import FILE
from tests.support.native import IS_NATIVE

CALLS = [orjson.loads(line) for line in gzip.decompress(FILE.read_bytes()).splitlines()]
_LIMITS = {"usd": {"limit_usd": 9_000_000}, "in": {"limit_tokens": 10**9, "units": ["input"]}, "out": {"limit_tokens": 10**9, "units": ["output"]}}  # fmt: skip


def _house(folder: Path, provider: str) -> House:
    folder.mkdir()
    dialect = "anthropic" if provider == "anthropic" else "openai"
    house = House(
        folder,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": provider, "dialect": dialect}},
        models={"*": {"upstream": "up"}, "local": {"upstream": "up", "context_tokens": 8192}},
        prices=[{"provider": "vllm", "model": "*", "input": "1", "output": "2"}],
        budgets=[{"name": name, "window": "total", "clamp": False} | limit for name, limit in _LIMITS.items()],
    )  # fmt: skip
    house.plane.configured.limits.note("up", {"other": 1, "another": 1})  # nobody says what these servers' were
    return house


def _answer(call: dict[str, Any]) -> Answer:
    if "answer" in call:
        return Answer(orjson.dumps(call["answer"]))
    frames = [
        b"event: %s\n" % frame.get("type", "x").encode() + b"data: " + orjson.dumps(frame) for frame in call["frames"]
    ]
    return Answer(b"\n\n".join([*frames, b"data: [DONE]\n\n"]), kind=b"text/event-stream")


def _made_before(house: House, call: dict[str, Any]) -> None:
    """What a call refers to was made by calls of its own team before, which are not all among the recorded ones."""
    endpoint = find("POST", call["path"], b"")
    assert endpoint is not None
    with contextlib.suppress(Refused):
        parsed = endpoint.parse(orjson.dumps(call["request"]))
        mine = [digest(Identity("", "k", team="t"), one) for one in (*parsed.held, *parsed.mentioned)]
        house.plane.stored_owners.note(mine, Holder("up", parsed.model))


class Seen:
    """What was reserved, counted and used in all calls. `counts[way]`: bound and truth of the input, in tokens."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.money: list[tuple[int, int]] = []
        self.output: list[tuple[int, int]] = []
        self.counts: dict[str, list[tuple[int, int]]] = defaultdict(list)


@pytest.fixture
async def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """All calls, through a gateway each, with the closer bounds asked for as well."""
    seen = Seen()
    found: dict[str, int | None] = {}
    head_of = forward.head_of

    def counting(attempt: Attempt, *given: Any) -> bytes:
        text_only = not attempt.call.media_items and attempt.call.passes == 1
        found.clear()
        if text_only:
            found.update(tokenizer=tighten._own_tokenizer(attempt), calibrated=tighten._calibrated(attempt))
        return head_of(attempt, *given)

    if not IS_NATIVE:  # whose callers do not see what is put in the place of a function
        monkeypatch.setattr(forward, "head_of", counting)
    houses: dict[str, House] = {}
    for call in CALLS:
        provider = call["provider"]
        if provider not in houses:
            houses[provider] = _house(tmp_path / provider, provider)
        house = houses[provider]
        house.answers.clear()
        known = len(house.records())
        _made_before(house, call)
        told = await house.ask(_answer(call), path=call["path"], chat=False, **call["request"])
        records = {record["t"]: record for record in house.records()[known:]}
        if told.status != 200:
            seen.refused[told.code] += 1
            continue
        intent, end = records["intent"], records["settle"]
        assert end["usage_source"] == "provider", call
        bound = {name: amount for name, _, _, _, amount in intent["budgets"]}
        used = {unit: count for unit, count in end["usage"].items() if unit in TOKENS}
        went_in = sum(count for unit, count in used.items() if unit in INPUT_SIDE)
        seen.money.append((bound["usd"], end["cost_nanousd"]))
        seen.output.append((bound["out"], sum(used.values()) - went_in))
        seen.counts["bytes"].append((bound["in"], went_in))
        for way, most in found.items():
            if most is not None:
                seen.counts[way].append((most, went_in))
    return seen


async def test_no_ceiling_is_below_what_a_provider_billed(seen: Seen) -> None:
    # Of no known price; of things that these tests never stored; MCP servers and image tools, which nothing bounds; no object.
    assert seen.refused == {"model_not_priced": 6, "not_found": 2, "unbounded_cost": 10, "invalid_request_error": 1}
    long = {f"{way}, over 1,000": [pair for pair in pairs if pair[1] > 1000] for way, pairs in seen.counts.items()}
    for kind, pairs in {"money": seen.money, "output": seen.output, **seen.counts, **long}.items():
        below = [pair for pair in pairs if pair[0] < pair[1]]
        ratios = [bound / used for bound, used in pairs if used > 0]
        print(
            f"{kind}: {len(pairs)} calls, {len(below)} below, median {statistics.median(ratios):.2f} times what was used"
        )
        assert not below, kind
