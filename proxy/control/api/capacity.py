"""Machines of one's own: what each cost, whose that was, and what the same tokens would have cost elsewhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from proxy.config.capacity import Capacity
from proxy.control.api.errors import NOT_FOUND
from proxy.control.api.questions import Control, Page, Span
from proxy.control.state import ControlState
from proxy.reports.capacity.costs import capacity_report
from proxy.reports.capacity.shapes import CapacityShown, capacity_shown
from proxy.times import now_us

router = APIRouter()


class CapacityQuestion(Span):
    """`by`: names with commas between, of key, team, user, customer, model, provider, upstream, session, agent."""

    by: str = ""


def _report(state: ControlState, row: Capacity, question: CapacityQuestion) -> CapacityShown:
    by = tuple(name for name in question.by.split(",") if name)
    book = state.book.with_operator(state.config().operator_prices())
    report = capacity_report(state.engine, row, *question.moments(), now=now_us(), book=book, by=by)
    return capacity_shown(report, by, state.capacity_problem(row.name))


@router.get("/capacity")
def capacities(question: Annotated[CapacityQuestion, Query()], state: Control) -> Page[CapacityShown]:
    """Every capacity of the configuration."""
    return Page(items=[_report(state, row, question) for row in state.config().capacity])


@router.get("/capacity/{name:path}", responses=NOT_FOUND)
def capacity(name: str, question: Annotated[CapacityQuestion, Query()], state: Control) -> CapacityShown:
    """One capacity."""
    for row in state.config().capacity:
        if row.name == name:
            return _report(state, row, question)
    raise HTTPException(404, "There is no capacity with this name.")
