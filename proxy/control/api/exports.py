"""Exports: how far each sink is, and what it refused tried once more."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.questions import Control, Page
from proxy.exports.status import sinks_shown
from proxy.ledger.beside.export_log import ask_again
from proxy.times import now_us

router = APIRouter()


class SinkShown(BaseModel):
    """One sink."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: str
    state: str = Field(
        description="ok, behind (it takes nothing now), history (it gets what was there before), new (it has not begun), "
        "removed (it is in the configuration no more)"
    )
    cursor: str | None = Field(description="The last entry that it has.")
    exported_at: str | None = Field(description="When it took something last.")
    lag_entries: int = Field(
        description="What has come into the ledger since and waits; at most 1,000,000 are counted."
    )
    lag_seconds: float = Field(description="How long the oldest of these has waited.")
    history_at: str | None = Field(
        description="Of a sink that gets what was there before it: up to which time it has that."
    )
    sent: int
    skipped: int = Field(description="Entries of which there is nothing to tell it.")
    refused: int = Field(description="Events that it refused for good, so far.")
    set_aside: int = Field(description="Those of them that wait for `taximeter exports retry`.")
    failed: int = Field(description="Tries that did not work, and were made again.")
    error: str | None
    error_at: str | None
    instance: str | None = Field(description="Which instance exports to it.")


class Retried(BaseModel):
    """How many events are tried once more."""

    model_config = ConfigDict(frozen=True)

    events: int


@router.get("/exports")
def exports(state: Control) -> Page[SinkShown]:
    """Every sink, by name."""
    rows = sinks_shown(state.engine, {row.key: row.type for row in state.config().exports}, now_us())
    return Page(items=[SinkShown(**row) for row in rows])


@router.post("/exports/{name}/retry", responses=NOT_FOUND)
def retry(name: str, state: Control) -> Retried:
    """Try what a sink refused for good once more."""
    events = ask_again(state.engine, name)
    if events is None:
        raise HTTPException(404, "There is no sink with this name.")
    return Retried(events=events)
