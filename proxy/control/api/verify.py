"""The ledger's audit: started, and how far it is. It takes a minute a million entries, so that nobody waits in a request."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from proxy.control.auditing import Auditor, AuditStatus
from proxy.times import rfc3339

router = APIRouter()


class DifferenceShown(BaseModel):
    model_config = ConfigDict(frozen=True)

    where: str
    what: str


class ResultShown(BaseModel):
    """As `taximeter verify --json`."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    first_difference: DifferenceShown | None
    counted: dict[str, int] = Field(description="What was looked at, in numbers.")
    entries_since: str | None = Field(description="Entries before it are deleted; null: none are.")
    store: str = Field(description="What the budget store's counters showed.")


class AuditShown(BaseModel):
    """The latest audit. `result` once it is done, `error` where it failed; how many of the entries are read meanwhile."""

    model_config = ConfigDict(frozen=True)

    state: Literal["never", "running", "done", "failed"]
    started_at: str | None
    ended_at: str | None
    entries: int
    entries_done: int
    result: ResultShown | None
    error: str | None


async def _auditor(request: Request) -> Auditor:
    auditor: Auditor = request.app.state.auditor
    return auditor


_Auditor = Annotated[Auditor, Depends(_auditor)]


@router.get("/verify")
def latest(auditor: _Auditor) -> AuditShown:
    """How far the latest audit is, and what it found."""
    return _shown(auditor.status())


@router.post("/verify", status_code=202)
def verify(auditor: _Auditor) -> AuditShown:
    """Begin an audit of the whole ledger, as `taximeter verify` does; where one runs, that is it."""
    return _shown(auditor.start())


def _shown(status: AuditStatus) -> AuditShown:
    values: dict[str, Any] = asdict(status)
    return AuditShown(**values | {name: rfc3339(values[name]) for name in ("started_at", "ended_at")})
