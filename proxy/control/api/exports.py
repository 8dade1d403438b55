"""Exports: how far each sink is, and what it refused tried once more."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict

from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.questions import Control, Page
from proxy.exports.status import SinkShown, sinks_shown
from proxy.ledger.beside.export_log import ask_again
from proxy.times import now_us

router = APIRouter()


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
