"""What needs no key: liveness and readiness."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from proxy.control.api import probes
from proxy.control.api.questions import Control

router = APIRouter()


class Health(BaseModel):
    model_config = ConfigDict(frozen=True)

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    model_config = ConfigDict(frozen=True)

    status: Literal["ready", "not ready"]
    missing: list[str]


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness, "description": "What is missing."}})
async def readyz(state: Control, response: Response) -> Readiness:
    """Calls are served and recorded."""
    missing = await probes.missing(state)
    response.status_code = 503 if missing else 200
    return Readiness(status="not ready" if missing else "ready", missing=missing)
