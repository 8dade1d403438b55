"""Random values in some fields of a body, one dialect at a time: never a 500, never an INTENT that stays open."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.houses import PATHS, house_of
from tests.flow.house import Answer, House, Told
from tests.support.bodies import FULL, WRONG, Path, paths, with_value

UNITS = ("input", "output", "web_search", "grounding", "image", "character", "code_session", "file_search", "request")
GUARDED: dict[str, Any] = {
    "prices": [{"provider": "acme", "model": "*"} | dict.fromkeys(UNITS, "1")],
    "models": {"m": {"upstream": "up", "context_tokens": 8000, "max_output_tokens": 4000}},
    "budgets": [{"name": "b", "limit_usd": "1000000", "window": "total"}],
    "guards": {"loop": {"repeats": 10**6, "within_s": 60}, "max_requests": 10**9},
}
HEADERS = {"x-session-id": "s-1"}
_NAMES = (
    "type", "text", "content", "parts", "role", "id", "name", "input", "arguments", "function", "tool_calls", "source",
    "cache_control", "max_tokens",
)  # fmt: skip
_JSON = st.recursive(
    st.sampled_from(WRONG),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
    max_leaves=6,
)
_Changes = list[tuple[Path, Any]]


@dataclass
class Tally:
    """What came of random bodies. above: bills that were larger than their reservation."""

    tried: int = 0
    refused: int = 0
    errors: int = 0
    open_intents: int = 0
    above: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.tried + other.tried,
            self.refused + other.refused,
            self.errors + other.errors,
            self.open_intents + other.open_intents,
            self.above + other.above,
        )

    def __str__(self) -> str:
        return (
            f"tried {self.tried} refused {self.refused} 5xx {self.errors} open INTENTs {self.open_intents} "
            f"bill > reservation {self.above}"
        )

    @property
    def is_bad(self) -> bool:
        return bool(self.errors or self.open_intents or self.above)

    def note(self, told: Told, body: object) -> None:
        """An answer to a body; an error of ours ends the turn."""
        self.tried += 1
        self.refused += told.status in range(400, 500)
        self.errors += told.status >= 500
        assert told.status < 500, (told.body, body)

    def note_records(self, house: House, body: object = None) -> None:
        """What a house has written down of calls that are over; what is wrong ends the turn."""
        records = house.records()
        reserved = {one["id"]: one["reserved_nanousd"] for one in records if one["t"] in ("intent", "reserved")}
        ended = {one["id"]: one.get("cost_nanousd") for one in records if one["t"] in ("settle", "void", "refused")}
        is_open = reserved.keys() - ended.keys()
        above = [name for name, cost in ended.items() if (cost or 0) > (reserved[name] or 0)]
        self.open_intents += len(is_open)
        self.above += len(above)
        assert not is_open, body
        assert not above, body
        assert house.reserved() == 0, body


async def ask(house: House, operation: str, body: Any, instead: tuple[str, str] = ("", "")) -> Told:
    """One call of a body, in which a text may stand for what JSON's writers do not write."""
    if operation not in ("generate", "count", "embed") and "model" not in body:
        body = body | {"model": "m"}
    house.answers = [Answer(orjson.dumps({"usage": {"input_tokens": 1, "output_tokens": 1}}))]
    raw = json.dumps(body).replace(*instead).encode()
    return await house.ask(house.answers.pop(), path=PATHS[operation], headers=HEADERS, raw=raw)


def _changed(operation: str, changes: _Changes) -> dict[str, Any]:
    body = FULL[operation]
    for path, value in sorted(changes, key=lambda change: -len(change[0])):
        try:
            body = with_value(body, path, value)
        except (KeyError, IndexError, TypeError):
            continue  # another change has taken the place away
    return body


def any_values(folder: Folder, examples: int, tally: Tally, *, operation: str) -> None:
    """So many random bodies of one dialect at one house."""
    places = list(paths(FULL[operation]))
    house = house_of(folder / "house", operation, **GUARDED)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(places), _JSON), min_size=1, max_size=4))
    def some(changes: _Changes) -> None:
        body = _changed(operation, changes)
        tally.note(asyncio.run(ask(house, operation, body)), body)

    some()
    tally.note_records(house)
    house.plane.spool.close()
