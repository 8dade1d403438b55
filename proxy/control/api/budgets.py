"""Budgets: where each stands, and raising one for a while."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from proxy.budgets.budget import Budget as Measured
from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.keys import Expiry
from proxy.control.api.questions import MAX_LIMIT, Control, Limit, Page
from proxy.control.api.standings import budgets_as_they_stand, page_of
from proxy.control.state import ControlState
from proxy.ledger.planes import keys as ledger_keys
from proxy.ledger.planes import raises
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
    """The text as it came; only a written time is taken, no number."""
    instant(value)
    return value


class NewRaise(BaseModel):
    """How much more, of a group or of all, and until when (default: the end of the window; of a `total` for good)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_usd: Decimal
    group: Annotated[str, Field(max_length=300)] | None = None
    until: Annotated[AwareDatetime, BeforeValidator(_written), Expiry] | None = None
    new_group: bool = Field(default=False, description="Raise a group in which no call was ever counted.")
    reason: Annotated[str, Field(max_length=300)] | None = Field(default=None, description="Why; kept with the raise.")


class Raise(Shown):
    id: str
    budget: str
    group: str | None
    by_usd: str = Field(description="In the budget's own measure, which need not be USD.")
    until: str | None
    created_at: str | None
    reason: str | None


class NewAmount(BaseModel):
    """What a raise is lowered to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_usd: Decimal


class Raised(Raise):
    """A raise with the limit of its group (of each group, where it names none) before and after; in the budget's measure."""

    limit_before: str
    limit_after: str


class Groups(BaseModel):
    """`limit`: the most groups in one answer, of all budgets together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = MAX_LIMIT
    next: Annotated[str, Field(max_length=8000)] | None = None


def _page(state: ControlState, budgets: Sequence[Measured], question: Groups) -> Page[Budget]:
    items = budgets_as_they_stand(budgets, state.standings(), now_s())
    page, following = page_of(items, question.limit, question.next)
    return Page[Budget].model_validate({"items": page, "next": following})


def _named(state: ControlState, name: str) -> Measured:
    for budget in state.budgets():
        if budget.name == name:
            return budget
    raise HTTPException(404, "There is no budget with this name.")


@router.get("/budgets")
def budgets(question: Annotated[Groups, Query()], state: Control) -> Page[Budget]:
    """Every budget, with its groups, those with most spent first."""
    return _page(state, state.budgets(), question)


@router.get("/budgets/{name}", responses=NOT_FOUND)
def budget(name: str, state: Control) -> Budget:
    """One budget, with the groups that have spent most."""
    return _page(state, [_named(state, name)], Groups()).items[0]


@router.post("/budgets/{name}/raises", status_code=201, responses=NOT_FOUND)
def raise_budget(name: str, new: NewRaise, state: Control) -> Raised:
    """Raise a budget; effective at once, in the middle of a session too."""
    now, until_s = now_s(), None if new.until is None else new.until.timestamp()
    budget = _named(state, name)
    try:
        row = raises.make_raise(
            state.engine,
            state.budgets(),
            raises.RaiseRequest(name, new.by_usd, new.group, until_s, new.reason),
            now_s=now,
            named=None if new.new_group or not budget.per else _groups(state, budget),
        )
    except raises.UnknownGroupError as problem:
        raise HTTPException(400, f"{problem}; `new_group: true` raises it all the same.") from None
    except raises.RaiseProblem as problem:
        raise HTTPException(400, f"{problem}.") from None
    return _raised(state, budget, row, now)


def _groups(state: ControlState, budget: Measured) -> set[str]:
    """The groups of which the data planes, the configuration or keys know."""
    configured = [key.owner() for key in state.config().keys]
    named = raises.named_groups(budget, [*configured, *ledger_keys.list_keys(state.engine)])
    return named | {row["group"] for row in state.standings() if row["budget"] == budget.name}


@router.get("/budgets/{name}/raises", responses=NOT_FOUND)
def list_raises(name: str, state: Control) -> Page[Raise]:
    """The raises of a budget that are in force, in the order in which they were made."""
    budget = _named(state, name)
    rows = [row for row in raises.in_force(state.engine, now_s()) if row["budget"] == name]
    return Page[Raise](items=[Raise(**_shown(budget, row)) for row in rows])


@router.get("/raises")
def all_raises(state: Control) -> Page[Raise]:
    """The raises of all budgets that are in force, in the order in which they were made."""
    configured = {budget.name: budget for budget in state.budgets()}
    rows = raises.in_force(state.engine, now_s())
    return Page[Raise](
        items=[Raise(**_shown(configured[row["budget"]], row)) for row in rows if row["budget"] in configured]
    )


@router.patch("/budgets/{name}/raises/{raise_id}", responses=NOT_FOUND)
def lower_raise(name: str, raise_id: str, new: NewAmount, state: Control) -> Raised:
    """Lower a raise that is in force: it ends, and a smaller one with an id of its own stands in its place."""
    now, budget = now_s(), _raise_of(state, name, raise_id)
    try:
        row = raises.lower_raise(state.engine, state.budgets(), raise_id, to=new.by_usd, now_s=now)
    except raises.RaiseProblem as problem:
        raise HTTPException(400, f"{problem}.") from None
    if row is None:
        raise HTTPException(404, _NO_RAISE)
    return _raised(state, budget, row, now)


@router.delete("/budgets/{name}/raises/{raise_id}", responses=NOT_FOUND)
def end_raise(name: str, raise_id: str, state: Control) -> Raised:
    """End a raise that is in force; it stays on record."""
    now, budget = now_s(), _raise_of(state, name, raise_id)
    row = raises.end_raise(state.engine, raise_id, now)
    if row is None:
        raise HTTPException(404, _NO_RAISE)
    return _raised(state, budget, row, now)


_NO_RAISE = "There is no raise with this id in force."


def _raise_of(state: ControlState, name: str, raise_id: str) -> Measured:
    """The budget, as it stands now. Raises HTTPException where the raise is not one of its own."""
    budget = _named(state, name)
    if not any(row["id"] == raise_id and row["budget"] == name for row in raises.in_force(state.engine, now_s())):
        raise HTTPException(404, _NO_RAISE)
    return budget


def _raised(state: ControlState, before: Measured, row: Mapping[str, Any], now: float) -> Raised:
    """What became of a raise, told once the data planes know of it."""
    state.wait(state.refresh())
    group = row["group"] or ""
    limits = [_amount(budget, budget.limit_for(group, now)) for budget in (before, _named(state, before.name))]
    return Raised(**_shown(before, row), limit_before=limits[0], limit_after=limits[1])


def _shown(budget: Measured, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "budget": row["budget"],
        "group": row["group"],
        "by_usd": _amount(budget, row["by_amount"]),
        "until": rfc3339(row["until_at"]),
        "created_at": rfc3339(row["created_at"]),
        "reason": row["reason"],
    }


def _amount(budget: Measured, amount: int) -> str:
    return usd_text(amount) if budget.measure == "usd" else str(amount)
