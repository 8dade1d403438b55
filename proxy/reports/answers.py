"""What every named report answers with: the JSON of its contract, its rows for a table or a spreadsheet, and what to say below.

A report never gives a number without saying where it comes from: `about` has its period, its time zone and its sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from proxy.times import rfc3339


class About(BaseModel):
    """The period (`since` inclusive, `until` exclusive), its zone, what the numbers are made of, and what to know of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: str | None
    until: str | None
    timezone: str
    sources: list[str]
    caveats: list[str]


class Grouped(BaseModel):
    """An item with its group's values beside its own, first, by the names that were asked for (`team`, `label.x`)."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str | None] = Field(init=False)

    @model_serializer(mode="wrap")
    def _group_first(self, serialize: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a type would stand in the schema for the fields
        return (self.__pydantic_extra__ or {}) | serialize(self)


def no_price(calls: int) -> str:
    """`1 call has no price`, `5 calls have no price`."""
    return "1 call has no price" if calls == 1 else f"{calls} calls have no price"


def unpriced_caveats(calls: int) -> list[str]:
    """What is to be known where calls without a price are among those that are summed."""
    who = "it" if calls == 1 else "they"
    return [f"{no_price(calls)}: what {who} cost is not known, and is in no sum here"] if calls else []


class Answer(NamedTuple):
    """said: sentences for a person, below the table."""

    shown: BaseModel
    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[str]
    said: Sequence[str] = ()


def about(
    since: int | None, until: int | None, zone: str, sources: Sequence[str], caveats: Sequence[str] = ()
) -> About:
    return About(
        since=rfc3339(since), until=rfc3339(until), timezone=zone, sources=list(sources), caveats=list(caveats)
    )
