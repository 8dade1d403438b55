"""Budgets: where each stands, and raising one for a while."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.keys import Expiry
from proxy.control.api.questions import Control, Page
from proxy.control.api.standings import budgets_as_they_stand
from proxy.control.state import ControlState
from proxy.ledger import raises
from proxy.money import usd_text
from proxy.reports.shapes import Shown
from proxy.times import instant, now_s, rfc3339

router = APIRouter()


class Window(Shown):
    start: str | None
    end: str | None


class _Budget(Shown):
    name: str
    window: Window
    action: Literal["block", "warn"]
    per: list[str]


class UsdGroup(Shown):
    group: str
    limit_usd: str
    spent_usd: str
    reserved_usd: str


class UsdBudget(_Budget):
    limit_usd: str
    spent_usd: str
    reserved_usd: str
    remaining_usd: str | None
    groups: list[UsdGroup]


class TokensGroup(Shown):
    group: str
    limit_tokens: int
    spent_tokens: int
    reserved_tokens: int


class TokensBudget(_Budget):
    limit_tokens: int
    spent_tokens: int
    reserved_tokens: int
    remaining_tokens: int | None
    groups: list[TokensGroup]


class RequestsGroup(Shown):
    group: str
    limit_requests: int
    spent_requests: int
    reserved_requests: int


class RequestsBudget(_Budget):
    limit_requests: int
    spent_requests: int
    reserved_requests: int
    remaining_requests: int | None
    groups: list[RequestsGroup]


Budget = UsdBudget | TokensBudget | RequestsBudget
"""Amounts in the budget's own measure. `remaining_…` is null where each group has its own (`per`)."""


def _written(value: object) -> object:
    """As it came, if it is a time and no number."""
    instant(value)
    return value


class NewRaise(BaseModel):
    """How much more, of a group or of all, and until when (default: the end of the window; of a `total` for good)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_usd: Decimal
    group: Annotated[str, Field(max_length=300)] | None = None
    until: Annotated[AwareDatetime, BeforeValidator(_written), Expiry] | None = None


class Raise(Shown):
    id: str
    budget: str
    group: str | None
    by_usd: str = Field(description="In the budget's own measure, which need not be USD.")
    until: str | None
    created_at: str | None


def _standing(state: ControlState) -> list[dict[str, object]]:
    return budgets_as_they_stand(state.budgets(), state.standings(), now_s())


@router.get("/budgets")
def budgets(state: Control) -> Page[Budget]:
    """Every budget, with its groups."""
    return Page[Budget].model_validate({"items": _standing(state)})


@router.get("/budgets/{name}", responses=NOT_FOUND)
def budget(name: str, state: Control) -> Budget:
    """One budget."""
    standing = next((item for item in _standing(state) if item["name"] == name), None)
    if standing is None:
        raise HTTPException(404, "There is no budget with this name.")
    return Page[Budget].model_validate({"items": [standing]}).items[0]


@router.post("/budgets/{name}/raises", status_code=201, responses=NOT_FOUND)
def raise_budget(name: str, new: NewRaise, state: Control) -> Raise:
    """Raise a budget; effective at once, in the middle of a session too."""
    now, until_s = now_s(), None if new.until is None else new.until.timestamp()
    try:
        row = raises.make_raise(
            state.engine, state.budgets(), name, by=new.by_usd, group=new.group, until_s=until_s, now_s=now
        )
    except KeyError:
        raise HTTPException(404, "There is no budget with this name.") from None
    except raises.RaiseProblem as problem:
        raise HTTPException(400, f"{problem}.") from None
    state.wait(state.refresh())
    measure = next(budget.measure for budget in state.budgets() if budget.name == name)
    return Raise(
        id=row["id"],
        budget=name,
        group=row["group"],
        by_usd=usd_text(row["by_amount"]) if measure == "usd" else str(row["by_amount"]),
        until=rfc3339(row["until_at"]),
        created_at=rfc3339(row["created_at"]),
    )
