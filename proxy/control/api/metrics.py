"""What Prometheus scrapes: with the admin key, or with the token that is good for this alone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from proxy.control.api import probes
from proxy.control.api.auth import scraper
from proxy.control.api.errors import PROBLEMS
from proxy.control.api.questions import Control, bearer

router = APIRouter()
_TEXTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}, "application/openmetrics-text": {}}}}


@router.get(
    "/metrics",
    dependencies=[Depends(bearer), Depends(scraper)],
    response_class=Response,  # which has no type of its own: errors are JSON
    responses=PROBLEMS | _TEXTS,
)
def metrics(request: Request, state: Control) -> Response:
    """Prometheus' text format; OpenMetrics, with exemplars, for who accepts it."""
    return probes.scraped(state, request.headers.get("accept", ""))
