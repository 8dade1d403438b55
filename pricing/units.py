"""The units of usage: what is counted, per how many it is priced, and whose price a unit takes that has none of its own.

A unit that is not in the table is a tool call billed one by one: providers invent tools faster than tables grow.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["token", "thing", "tool"]
Side = Literal["in", "out", ""]

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit. A price without a `per` of its own is for `per` of it; `side` says which way tokens flow."""

    name: str
    kind: Kind
    parent: str | None = None
    side: Side = ""
    per: int = 1


def _token(name: str, side: Side, parent: str | None = None) -> Unit:
    return Unit(name, "token", parent, side, MILLION)


def _thing(name: str, parent: str | None = None, per: int = 1) -> Unit:
    return Unit(name, "thing", parent, per=per)


def _tool(name: str) -> Unit:
    return Unit(name, "tool")


UNITS: Mapping[str, Unit] = {
    unit.name: unit
    for unit in (
        _token("input", "in"),
        _token("cache_read", "in", "input"),
        _token("cache_write_5m", "in", "input"),
        _token("cache_write_30m", "in", "cache_write_5m"),
        _token("cache_write_1h", "in", "cache_write_5m"),
        _token("audio_in", "in", "input"),
        _token("image_in", "in", "input"),
        _token("video_in", "in", "input"),
        _token("cache_read_audio", "in", "cache_read"),
        _token("cache_read_image", "in", "cache_read"),
        _token("cache_read_video", "in", "cache_read"),
        _token("citation", "", "input"),  # read by the model's own research: no part of the prompt
        _token("output", "out"),
        _token("reasoning", "out", "output"),
        _token("audio_out", "out", "output"),
        _token("image_out", "out", "output"),
        _token("video_out", "out", "output"),
        _thing("image"),
        _thing("video_second"),
        _thing("audio_second"),
        _thing("character"),
        _thing("page"),
        _thing("annotated_page", "page"),
        _thing("search_unit"),
        _thing("classification"),
        _thing("text_message"),
        _thing("request"),
        _thing("gpu_second"),
        _thing("credit"),
        _thing("token_hour", per=MILLION),
        _tool("web_search"),
        _tool("web_fetch"),
        _tool("x_search"),
        _tool("file_search"),
        _tool("document_search"),
        _tool("people_search"),
        _tool("finance_search"),
        _tool("code_session"),
        _tool("code_execution"),
        _tool("grounding"),
        _tool("grounding_maps"),
    )
}

INPUT_SIDE = frozenset(unit.name for unit in UNITS.values() if unit.side == "in")

# What a token that was counted beforehand as the key may be billed as once the call is done.
BILLED_AS: Mapping[str, tuple[str, ...]] = {
    "input": ("input", "cache_read", "cache_write_5m", "cache_write_30m", "cache_write_1h"),
    "audio_in": ("audio_in", "cache_read_audio"),
    "image_in": ("image_in", "cache_read_image"),
    "video_in": ("video_in", "cache_read_video"),
    "output": ("output", "reasoning"),
}


@functools.lru_cache(maxsize=1024)
def unit(name: str) -> Unit:
    """The unit called `name`."""
    return UNITS.get(name) or _tool(name)


def is_token(name: str) -> bool:
    """Whether the unit is one of tokens."""
    return unit(name).kind == "token"


def lineage(name: str) -> Iterator[str]:
    """The unit itself, then its parent, and so on: the order in which prices are looked for."""
    here: str | None = name
    while here is not None:
        yield here
        here = unit(here).parent
