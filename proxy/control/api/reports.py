"""The named reports: what `taximeter report NAME` says, a route each. As JSON, or as CSV or a plain table."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from proxy.config.typed_price import typed_price
from proxy.control.api.questions import Control, Filtered, Span
from proxy.ledger.notes.reconciliations import keep_reconciliation
from proxy.reports.answers import Answer
from proxy.reports.calendar import UTC, zone_named
from proxy.reports.explain.answer import ExplainQuestion, ExplainShown, against_of, explain_answer
from proxy.reports.focus.rows import FocusQuestion, FocusShown, focus_answer
from proxy.reports.margin.answer import MarginShown, margin_answer
from proxy.reports.margin.margin import Question
from proxy.reports.month.answer import MonthShown, month_answer
from proxy.reports.month.charged import MonthQuestion, mark_up_of
from proxy.reports.months import before, month_at, month_named
from proxy.reports.reconcile.answer import ReconcileQuestion, ReconcileShown, reconcile_answer
from proxy.reports.reprice.answer import RepriceShown, reprice_answer
from proxy.reports.reprice.repriced import reprice as find_repricings
from proxy.reports.sheets import csv_text, table_text
from proxy.reports.what_if.alternatives import Change, swap_of
from proxy.reports.what_if.answer import WhatIfShown, cache_share, learned_ratios, what_if_answer
from proxy.times import DAY_US, BadQuestion, moment, now_s, now_us

router = APIRouter(prefix="/reports")
_MOST_TEXT_BYTES = 32 * 1024 * 1024
_PRICE = "price."
_FORMS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}, "text/plain": {}}}}


class ReportQuestion(Span):
    """`tz`: whose months and days. `format`: how the answer is wanted."""

    tz: Annotated[str, Field(max_length=100)] = "UTC"
    format: Literal["json", "csv", "table"] = "json"


class ExplainQuery(ReportQuestion):
    """`by`: names with commas between. `against`: another period, C..D; without it the one as long just before."""

    by: str = "customer,model"
    against: Annotated[str, Field(max_length=200)] | None = None


class MarginQuestion(ReportQuestion, Filtered):
    """`by`: names with commas between, of customer, plan, team, key, label.NAME, …. Without a time: the running month.
    `filter.NAME=VALUE`, of the same names: only what has that value; "" is none."""

    by: str = "customer"


@router.get("/explain", response_model=ExplainShown, responses=_FORMS)
def explain(question: Annotated[ExplainQuery, Query()], state: Control) -> Any:
    """Why the bill changed: the difference of two periods, split so that the parts add up to it exactly."""
    since, until = question.moments()
    against = against_of(question.against, now_s()) if question.against else None
    asked = ExplainQuestion(_names(question.by), since, until, against, zone_named(question.tz))
    return _formed(explain_answer(state.engine, state.own_book(), asked, now_us()), question)


def _names(by: str) -> tuple[str, ...]:
    return tuple(name for name in by.split(",") if name)


@router.get("/margin", response_model=MarginShown, responses=_FORMS)
def margin(question: Annotated[MarginQuestion, Query()], state: Control) -> Any:
    """What each customer pays and costs, those that lose most first; and each plan."""
    since, until = question.moments()
    asked = Question(
        by=_names(question.by), since=since, until=until, zone=zone_named(question.tz), only=question.only()
    )
    return _formed(margin_answer(state.engine, state.config().plans, asked, now_us()), question)


class FocusQuery(ReportQuestion):
    """`version`: of FOCUS. `tags`: labels that become tags, with commas between. `ahead`: 1.5 writes the token classes as its
    draft names them. Days are UTC. Without a time: the running month."""

    version: Literal["1.4", "1.2"] = "1.4"
    tags: Annotated[str, Field(max_length=1000)] = ""
    ahead: Literal["1.5"] | None = None
    format: Literal["json", "csv", "table"] = "csv"


@router.get("/focus", response_model=FocusShown, responses=_FORMS)
def focus(question: Annotated[FocusQuery, Query()], state: Control) -> Any:
    """Cost and usage rows in the FinOps format FOCUS, as CSV unless another form is asked for."""
    zone_named(question.tz)  # its days are UTC, as FOCUS wants them, but a wrong zone is still an error
    now = now_us()
    since, until = question.moments()
    ends = now if until is None else until
    begins = month_at(ends - 1, UTC).start if since is None else since
    _check_length(begins, ends)
    asked = FocusQuestion(question.version, begins, ends, _names(question.tags), ahead=question.ahead is not None)
    return _formed(focus_answer(state.engine, asked, now), question)


class MonthQuery(ReportQuestion, Filtered):
    """`month`: 2026-11; without it that of `since`, else the one before this. `mark_up`: 0.10 charges a tenth more.
    `filter.NAME=VALUE`, of the names that calls are grouped by: only what has that value; "" is none."""

    month: Annotated[str, Field(max_length=20)] | None = None
    by: str = "team"
    mark_up: Annotated[str, Field(max_length=40)] = "0"


@router.get("/month", response_model=MonthShown, responses=_FORMS)
def month(question: Annotated[MonthQuery, Query()], state: Control) -> Any:
    """What each group is charged for a month, in cents that add up. (`taximeter report month --close` closes it.)"""
    zone, now = zone_named(question.tz), now_us()
    since, _ = question.moments()
    default = before(month_at(now, zone), zone) if since is None else month_at(since, zone)
    asked = MonthQuestion(
        month=month_named(question.month, zone) if question.month else default,
        by=_names(question.by),
        mark_up=mark_up_of(question.mark_up),
        zone=zone,
        only=question.only(),
    )
    return _formed(month_answer(state.engine, asked, now), question)


@router.get("/reconcile", response_model=ReconcileShown, responses=_FORMS)
def reconcile(question: Annotated[ReportQuestion, Query()]) -> Any:
    """A provider's export is a file: POST compares it, as `taximeter report reconcile PROVIDER FILE` does. Here: always 400."""
    zone_named(question.tz)
    raise BadQuestion(
        "a provider's export is needed: run `taximeter report reconcile PROVIDER FILE`, with --server from afar"
    )


class ReconcileAsked(BaseModel):
    """`text_gzip`: the provider's export, compressed by gzip, in base64. `file`: its name. `tz`: whose days it counts.
    `whole`: it is filtered by nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Annotated[str, Field(min_length=1, max_length=200)]
    text_gzip: str
    file: Annotated[str, Field(max_length=1000)] = ""
    since: Annotated[str, Field(max_length=100)] | None = None
    until: Annotated[str, Field(max_length=100)] | None = None
    tz: Annotated[str, Field(max_length=100)] = "UTC"
    whole: bool = False


@router.post("/reconcile")
def compare(asked: ReconcileAsked, state: Control) -> ReconcileShown:
    """Compare with a provider's own figures, and keep what came of it. (`… reconcile --apply` corrects entries.)"""
    now = now_us()
    zone = zone_named(asked.tz)
    since, until = (None if text is None else moment(text, now / 1e6, zone) for text in (asked.since, asked.until))
    question = ReconcileQuestion(asked.provider, _unpacked(asked.text_gzip), since, until, zone, whole=asked.whole)
    reconciled = reconcile_answer(state.engine, state.own_book(), question, now)
    keep_reconciliation(state.engine, reconciled.run._replace(file=asked.file))
    shown = reconciled.answer.shown
    assert isinstance(shown, ReconcileShown)
    return shown


def _unpacked(packed: str) -> str:
    """At most `_MOST_TEXT_BYTES` of text. Raises `BadQuestion`."""
    try:
        unpacking = zlib.decompressobj(wbits=31)
        text = unpacking.decompress(base64.b64decode(packed, validate=True), _MOST_TEXT_BYTES)
        if unpacking.unconsumed_tail:
            raise BadQuestion(
                f"the file is larger than {_MOST_TEXT_BYTES // 1024 // 1024} MiB; compare it beside the server"
            )
        if not unpacking.eof:
            raise BadQuestion("text_gzip: ends too early")
        return text.decode("utf-8-sig")
    except BadQuestion:
        raise
    except (ValueError, zlib.error) as error:
        raise BadQuestion(f"text_gzip: is not gzip-compressed text in base64: {type(error).__name__}") from None


@router.get("/reprice", response_model=RepriceShown, responses=_FORMS)
def reprice(question: Annotated[ReportQuestion, Query()], state: Control) -> Any:
    """Entries whose price was wrong or missing. Without a time: those of the last day. (`taximeter report reprice --apply`
    corrects them.)"""
    zone_named(question.tz)  # its times need none, but a wrong one is still an error
    since, until = question.moments()
    ends = now_us() if until is None else until
    begins = ends - DAY_US if since is None else since
    _check_length(begins, ends)
    repricing = find_repricings(state.engine, state.own_book(), begins, ends)
    return _formed(reprice_answer(repricing, begins, ends, applied=False), question)


class WhatIfQuery(ReportQuestion):
    """`swap`: FROM=TO, several with commas between. `tier`: batch, flex or priority. `cache`: the share of the input that is
    read from a cache. `price.UNIT=USD`: what a unit of `model` (at `provider`, or at any) would cost, per million tokens or per
    thing, before what the configuration and the book say. Without a time: the last 30 days."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str] = Field(init=False)

    swap: Annotated[str, Field(max_length=4000)] = ""
    tier: Annotated[str, Field(max_length=40)] | None = None
    cache: Annotated[str, Field(max_length=40)] | None = None
    provider: Annotated[str, Field(max_length=200)] = ""
    model: Annotated[str, Field(max_length=500)] = ""

    def prices(self) -> dict[str, str]:
        """Unit -> USD. Raises `BadQuestion` where a parameter is none."""
        extra = self.__pydantic_extra__ or {}
        if unknown := [name for name in extra if not name.startswith(_PRICE)]:
            raise BadQuestion(f"{unknown[0][:100]}: is not a parameter; a price is written price.UNIT=USD")
        return {name.removeprefix(_PRICE): value for name, value in extra.items()}


@router.get("/what-if", response_model=WhatIfShown, responses=_FORMS)
def what_if(question: Annotated[WhatIfQuery, Query()], state: Control) -> Any:
    """What the period's calls would have cost otherwise. (`taximeter report what-if --prices FILE` takes a price list.)"""
    zone_named(question.tz)  # as above
    now, book = now_us(), state.own_book()
    typed = typed_price(question.provider, question.model, question.prices())
    own = None if typed is None else state.own_book(typed)
    since, until = question.moments()
    ends = now if until is None else until
    begins = ends - 30 * DAY_US if since is None else since
    swaps = tuple(swap_of(text, own or book, min(ends, now) // 1_000_000) for text in _names(question.swap))
    change = Change(swaps, question.tier, cache_share(question.cache), own=own)
    learned = learned_ratios(Path(state.config().data_dir))
    return _formed(what_if_answer(state.engine, book, change, begins, ends, learned, now), question)


def _check_length(begins: int, ends: int) -> None:
    if ends - begins >= 32 * DAY_US:  # October has an hour more where clocks change, and `31d` begins a moment ago
        raise BadQuestion("at most 31 days at once: every entry is read")


def _formed(answer: Answer, question: ReportQuestion) -> Any:
    if question.format == "csv":
        return Response(csv_text(answer.rows, answer.columns), media_type="text/csv; charset=utf-8")
    if question.format == "table":
        text = table_text(answer.rows, answer.columns) + "".join(f"{sentence}\n" for sentence in answer.said)
        return Response(text, media_type="text/plain; charset=utf-8")
    return answer.shown
