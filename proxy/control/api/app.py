"""The control plane's API: routers, one subject each, what guards them, and the schema that describes them.

Handlers are plain functions: FastAPI runs them in threads, where the database may block. Money leaves as decimal strings,
times as RFC 3339, lists as {items, next}; unknown parameters are refused.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxy.control.api import (
    budgets,
    capacity,
    exports,
    health,
    jobs,
    keys,
    metrics,
    prices,
    reports,
    requests,
    sessions,
    spend,
    verify,
)
from proxy.control.api.auth import Guard, admin
from proxy.control.api.errors import PROBLEMS, add_errors
from proxy.control.api.probes import SECURITY_HEADERS
from proxy.control.api.questions import bearer
from proxy.control.auditing import Auditor
from proxy.control.state import ControlState

_ADMIN = [Depends(bearer), Depends(admin)]

# The routers have no state, so that what FastAPI makes of them when it is first asked (70 ms) serves every application.
_ROUTES = APIRouter()
_ROUTES.include_router(health.router)
_ROUTES.include_router(metrics.router)
for _subject in (spend, requests, sessions, budgets, keys, reports, capacity, jobs, exports, prices, verify):
    _ROUTES.include_router(_subject.router, prefix="/api", dependencies=_ADMIN, responses=PROBLEMS)


def create_app(state: ControlState) -> FastAPI:
    """The control plane's ASGI application, without its page."""
    app = FastAPI(
        title="Taximeter", version="1", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.state.control = state
    app.state.auditor = Auditor(state)
    app.state.guard = Guard(lambda: state.config().server)
    add_errors(app)
    app.add_middleware(_Secure)
    app.router.routes.extend(_ROUTES.routes)

    @app.get("/api/openapi.json", dependencies=_ADMIN, include_in_schema=False)
    def schema() -> dict[str, Any]:
        return schema_of(app)

    return app


def schema_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI schema. What cannot be understood is answered 400 here, never FastAPI's own 422."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=__doc__, routes=app.routes)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            schema["components"]["schemas"].pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema


class _Secure:
    """The security headers on every answer. Plain ASGI: nothing stands between a stream and its client."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kept = headers.get("cache-control", SECURITY_HEADERS["cache-control"])  # the pages' files are kept
                headers.update({**SECURITY_HEADERS, "cache-control": kept})
            await send(message)

        await self._app(scope, receive, secured)
