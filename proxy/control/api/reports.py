"""The named reports: what `taximeter report NAME` says, a route each. As JSON, or as CSV or a plain table."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from proxy.control.api.questions import Control, Span
from proxy.reports.answers import Answer
from proxy.reports.calendar import zone_named
from proxy.reports.explain import ExplainQuestion, ExplainShown, against_of, explain_answer
from proxy.reports.margin import Question
from proxy.reports.margin_answer import MarginShown, margin_answer
from proxy.reports.sheets import csv_text, table_text
from proxy.times import now_s, now_us

router = APIRouter(prefix="/reports")


class ReportQuestion(Span):
    """`tz`: whose months and days. `format`: how the answer is wanted."""

    tz: Annotated[str, Field(max_length=100)] = "UTC"
    format: Literal["json", "csv", "table"] = "json"


class ExplainAsked(ReportQuestion):
    """`by`: names with commas between. `against`: another period, C..D; without it the one as long just before."""

    by: str = "customer,model"
    against: Annotated[str, Field(max_length=200)] | None = None


class MarginQuestion(ReportQuestion):
    """`by`: names with commas between, of customer, plan, team, key, label.NAME, …. Without a time: the running month."""

    by: str = "customer"


@router.get("/explain", response_model=ExplainShown)
def explain(question: Annotated[ExplainAsked, Query()], state: Control) -> Any:
    """Why the bill changed: the difference of two periods, split so that the parts add up to it exactly."""
    since, until = question.moments()
    against = against_of(question.against, now_s()) if question.against else None
    asked = ExplainQuestion(_names(question.by), since, until, against, zone_named(question.tz))
    return _formed(explain_answer(state.engine, state.own_book(), asked, now_us()), question)


def _names(by: str) -> tuple[str, ...]:
    return tuple(name for name in by.split(",") if name)


@router.get("/margin", response_model=MarginShown)
def margin(question: Annotated[MarginQuestion, Query()], state: Control) -> Any:
    """What each customer pays and costs, those that lose most first; and each plan."""
    since, until = question.moments()
    asked = Question(by=_names(question.by), since=since, until=until, zone=zone_named(question.tz))
    return _formed(margin_answer(state.engine, state.config().plans, asked, now_us()), question)


def _formed(answer: Answer, question: ReportQuestion) -> Any:
    if question.format == "csv":
        return Response(csv_text(answer.rows, answer.columns), media_type="text/csv; charset=utf-8")
    if question.format == "table":
        return Response(table_text(answer.rows, answer.columns), media_type="text/plain; charset=utf-8")
    return answer.shown
