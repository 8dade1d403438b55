"""Units of usage: their names, what kind of thing each counts, and whose price one takes that has none of its own."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["token", "thing", "tool"]
Side = Literal["in", "out", ""]


class Unit(NamedTuple):
    """`per`: how many a price is stated for unless the price says otherwise. `parent`: the unit whose price stands in.
    `side`: of tokens, whether they went in (these count towards long-context tiers) or came out."""

    name: str
    kind: Kind
    per: int = 1
    parent: str | None = None
    side: Side = ""


_MILLION = 1_000_000


def _token(name: str, parent: str | None, side: Side) -> Unit:
    return Unit(name, "token", _MILLION, parent, side)


_TABLE = (
    _token("input", None, "in"),
    _token("cache_read", "input", "in"),
    _token("cache_write_5m", "input", "in"),
    _token("cache_write_30m", "cache_write_5m", "in"),
    _token("cache_write_1h", "cache_write_30m", "in"),
    _token("audio_in", "input", "in"),
    _token("image_in", "input", "in"),
    _token("video_in", "input", "in"),
    _token("cache_read_audio", "cache_read", "in"),
    _token("cache_read_image", "cache_read", "in"),
    _token("cache_read_video", "cache_read", "in"),
    _token("output", None, "out"),
    _token("reasoning", "output", "out"),
    _token("audio_out", "output", "out"),
    _token("image_out", "output", "out"),
    _token("video_out", "output", "out"),
    _token("citation", "input", ""),
    Unit("image", "thing"),
    Unit("megapixel", "thing"),
    Unit("video_second", "thing"),
    Unit("audio_second", "thing"),
    Unit("session_second", "thing", 1, "audio_second"),
    Unit("character", "thing", _MILLION),
    Unit("page", "thing"),
    Unit("annotated_page", "thing", 1, "page"),
    Unit("search_unit", "thing"),
    Unit("text_message", "thing"),
    Unit("request", "thing"),
    Unit("gpu_second", "thing"),
    Unit("credit", "thing"),
    Unit("token_hour", "thing", _MILLION),
    Unit("web_search", "tool"),
    Unit("web_fetch", "tool", 1, "web_search"),
    Unit("file_search", "tool"),
    Unit("document_search", "tool", 1, "file_search"),
    Unit("code_session", "tool"),
    Unit("code_execution", "tool", 1, "code_session"),
    Unit("x_search", "tool", 1, "web_search"),
    Unit("attachment_search", "tool"),
    Unit("image_search", "tool", 1, "web_search"),
    Unit("people_search", "tool"),
    Unit("finance_search", "tool"),
    Unit("sandbox_session", "tool", 1, "code_session"),
    Unit("grounding", "tool"),
    Unit("grounding_maps", "tool", 1, "grounding"),
    Unit("mcp_call", "tool"),
    Unit("classification", "thing"),
    Unit("reported", "thing"),
)

UNITS: dict[str, Unit] = {unit.name: unit for unit in _TABLE}
INPUT_SIDE = frozenset(unit.name for unit in _TABLE if unit.side == "in")
TOKENS = frozenset(unit.name for unit in _TABLE if unit.kind == "token")

# Counted for information; where they have no price of their own, they cost nothing.
FREE_WITHOUT_PRICE = frozenset({"request", "gpu_second", "mcp_call", "text_message"})


def is_token(unit: str) -> bool:
    """Whether `unit` counts tokens; False for a unit that is not known."""
    return unit in TOKENS


def default_per(unit: str) -> int:
    """How many of `unit` a price is stated for unless it says otherwise; 1 for a unit that is not known."""
    definition = UNITS.get(unit)
    return definition.per if definition else 1


def lineage(unit: str) -> tuple[str, ...]:
    """`unit` and the units whose price it may take, nearest first. An unknown unit stands alone."""
    chain = [unit]
    while (definition := UNITS.get(chain[-1])) is not None and definition.parent is not None:
        chain.append(definition.parent)
    return tuple(chain)
