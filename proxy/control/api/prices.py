"""Prices as this server has them: a model's, what the book lacks, and what bills have taught about ceilings."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from pricing.report import holes as holes_of
from proxy.ceilings.learned import Overrun, forget_in, overruns_in
from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.questions import Control, Page
from proxy.reports.price_rows import PricesShown, prices_of
from proxy.times import now_s

router = APIRouter(prefix="/prices")


class PricesQuestion(BaseModel):
    """`at`: a date or a time; now without it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, Field(min_length=1, max_length=500)]
    provider: Annotated[str, Field(max_length=200)] | None = None
    at: Annotated[str, Field(max_length=100)] | None = None


class HoleShown(BaseModel):
    """Something that the book lacks: `no price`, `expired schedule` or `stale source`."""

    model_config = ConfigDict(frozen=True)

    kind: str
    what: str


class OverrunShown(BaseModel):
    """By how much the ceilings of a model are raised for a team or key, since a bill exceeded one."""

    model_config = ConfigDict(frozen=True)

    whose: str
    provider: str
    model: str
    factor: float


@router.get("")
def prices(question: Annotated[PricesQuestion, Query()], state: Control) -> PricesShown:
    """Which rows price a model, at each provider that has it, and the configuration's own."""
    own = state.config().prices
    return prices_of(state.book.catalog, own, question.model, question.provider, question.at, now_s())


@router.get("/holes")
def holes(state: Control) -> Page[HoleShown]:
    """Models without a price, expired schedules, stale sources."""
    holes = holes_of(state.book.catalog, datetime.now(UTC).date())
    return Page(items=[HoleShown(kind=hole.kind, what=hole.what) for hole in holes])


@router.get("/learned")
def learned(state: Control) -> Page[OverrunShown]:
    """By how much bills exceeded their ceilings, which raises each team's next ones."""
    return Page(items=_shown(overruns_in(_folder(state), now_s())))


@router.delete("/learned/{model:path}", responses=NOT_FOUND)
def forget(model: str, state: Control) -> Page[OverrunShown]:
    """Take back what was learned of a model; calls go by it within a minute. What there was until then."""
    gone = forget_in(_folder(state), model, now_s())
    if not gone:
        raise HTTPException(404, f"Nothing has been learned about {model}.")
    return Page(items=_shown(gone))


def _folder(state: Control) -> Path:
    return Path(state.config().data_dir)


def _shown(overruns: list[Overrun]) -> list[OverrunShown]:
    return [OverrunShown(**one._asdict()) for one in overruns]
