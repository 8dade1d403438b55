"""What the front door and the API answer alike: readiness, metrics, errors, headers. Nothing of FastAPI."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from proxy.control.metrics import exposition
from proxy.control.metrics.gauges import gauges
from proxy.control.state import ControlState, unrecorded_because

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
LEDGER_AWAY = "The ledger database does not answer."


async def missing(state: ControlState) -> list[str]:
    """What calls would have to wait for. On the process's loop."""
    away = ["the ledger database"] if state.recorder.database_down_since is not None else []
    answers = await state.link.ask("gauges")
    begins = any((answer or {}).get("ready") is False for answer in answers.values())  # or drains
    if begins or len(state.link.workers) < state.expected_workers:
        away.append("a data plane")
        if state.shared is not None and not state.shared.store.up:
            away.append("the shared budget store")
    return away + (["room for the spool"] if unrecorded_because(answers) else [])


def scraped(state: ControlState, accept: str) -> Response:
    """Prometheus' text format; OpenMetrics, with exemplars, for who accepts it. Blocks; raises SQLAlchemyError, Unavailable."""
    openmetrics = exposition.takes_openmetrics(accept)
    text = exposition.render(state.metrics, gauges(state), openmetrics=openmetrics)
    return Response(text, media_type=exposition.OPENMETRICS if openmetrics else exposition.TEXT)


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message}}, status, headers=headers)
