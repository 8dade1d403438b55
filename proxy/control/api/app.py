"""The control plane's API. Handlers are plain functions: FastAPI runs them in threads, where the database may block.

Money leaves as decimal strings, times as RFC 3339, lists as {items, next}; unknown parameters are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pricing.book import Book
from proxy.budgets.budget import Budget
from proxy.budgets.store import StoreUnavailable
from proxy.budgets.totals import Totals
from proxy.config.model import Config
from proxy.control.alerts import Alerts
from proxy.control.api.auth import Guard
from proxy.control.api.questions import MAX_LIMIT, Span
from proxy.control.api.sessions import add_sessions
from proxy.control.api.standings import budgets_as_they_stand
from proxy.control.metrics import exposition
from proxy.control.metrics.gauges import gauges
from proxy.control.metrics.series import MetricState
from proxy.control.page.home import add_page
from proxy.control.page.live import Live
from proxy.control.rebuilding import SharedBudgets
from proxy.ledger import keys, raises
from proxy.ledger.recorder import Recorder
from proxy.money import usd_text
from proxy.processes.link import ControlServer
from proxy.reports import calls as queries
from proxy.reports import spend as spending
from proxy.reports.shapes import entry_shown, with_usd
from proxy.times import BadQuestion, now_s, rfc3339

_SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@dataclass(slots=True)
class Api:
    """What the handlers need of the control process."""

    config: Callable[[], Config]
    engine: Engine
    link: ControlServer
    metrics: MetricState
    recorder: Recorder
    loop: asyncio.AbstractEventLoop
    refresh: Callable[[], Awaitable[None]]
    budgets: Callable[[], Sequence[Budget]]
    alerts: Alerts
    book: Book
    expected_workers: int = 1
    shared: SharedBudgets | None = None

    def wait(self, work: Awaitable[Any]) -> Any:
        """Run something on the process's loop from a handler's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=5)  # type: ignore[arg-type]  # any awaitable will do

    def standings(self) -> list[dict[str, Any]]:
        """The counters: the shared store's, or those of the data plane that has them in memory."""
        if self.shared is not None:
            try:
                rows: list[dict[str, Any]] = self.wait(self.shared.standings())
            except StoreUnavailable:
                raise HTTPException(503, "The budget store does not answer.") from None
            return rows
        return [row for rows in self._asked("standing", {}) for row in rows or ()]

    def fullest(self, most: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Of each budget `most` counters or more, those with most spent; and how many each has, where that is not all."""
        if self.shared is not None:
            return self.standings(), {}
        answers = self._asked("fullest", {"most": most})
        counts = {name: count for answer in answers for name, count in answer["counts"].items()}
        return [row for answer in answers for row in answer["rows"]], counts

    def totals(self) -> dict[str, Mapping[str, Any]]:
        """What each budget's groups come to in the current window: `spent`, `reserved`, `over` (as `alert_at`)."""
        if self.shared is None:
            rows = [row for rows in self._asked("totals", {}) for row in rows]
            return {row["budget"]: row for row in rows}
        now = now_s()
        found = {(one.name, one.window_now(now)[0]): Totals(one, now) for one in self.budgets()}
        for row in self.standings():
            totals = found.get((row["budget"], row["window_start"]))
            if totals is not None:
                totals.add(row["group"], row["spent"], row["reserved"])
        return {name: totals.told() for (name, _), totals in found.items()}

    def _asked(self, name: str, payload: Mapping[str, Any]) -> list[Any]:
        answers = self.wait(self.link.ask(name, payload))
        if not answers:
            raise HTTPException(503, "No data plane answers: it is starting, or busy.")
        return list(answers.values())


class NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    team: str | None = None
    user: str | None = None
    customer: str | None = None
    labels: dict[str, str] = {}
    models: list[str] | None = None
    expires: datetime | None = None


class NewRaise(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by_usd: Decimal
    group: str | None = None
    until: AwareDatetime | None = None


class SpendQuestion(Span):
    by: str = ""


class ListQuestion(Span):
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50
    next: str | None = None
    key: str | None = None
    team: str | None = None
    user: str | None = None
    customer: str | None = None
    model: str | None = None
    provider: str | None = None
    upstream: str | None = None
    session: str | None = None
    agent: str | None = None
    status: str | None = None
    outcome: str | None = None
    request_id: str | None = None
    operation: str | None = None
    client: str | None = None


class _Secure:
    """The security headers on every answer. Plain ASGI: nothing stands between a stream and its client."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, secured)


def create_app(api: Api, live: Live) -> FastAPI:
    """The control plane's ASGI application."""
    app = FastAPI(title="Taximeter", docs_url=None, redoc_url=None, openapi_url=None)
    guard = Guard(lambda: api.config().server)
    _add_errors(app)
    _add_open_routes(app, api)
    admin = [Depends(guard.admin)]

    app.add_middleware(_Secure)
    add_page(app, api, guard, live)
    add_sessions(app, api.engine, [Depends(guard.admin)])

    @app.get("/metrics", dependencies=[Depends(guard.metrics)])
    def metrics(request: Request) -> Response:
        openmetrics = "application/openmetrics-text" in request.headers.get("accept", "")
        text = exposition.render(api.metrics, gauges(api), openmetrics=openmetrics)
        return Response(text, media_type=exposition.OPENMETRICS if openmetrics else exposition.TEXT)

    @app.get("/api/spend", dependencies=admin)
    def spend(question: Annotated[SpendQuestion, Query()]) -> dict[str, Any]:
        by = [name for name in question.by.split(",") if name]
        items = spending.spend(api.engine, by, *question.moments())
        entries_since = rfc3339(spending.entries_since(api.engine))
        return {"items": [with_usd(item) for item in items], "next": None, "entries_since": entries_since}

    @app.get("/api/requests", dependencies=admin)
    def requests(question: Annotated[ListQuestion, Query()]) -> dict[str, Any]:
        since, until = question.moments()
        given = question.model_dump(exclude_none=True, include=set(queries.FILTERS))
        items = queries.requests(
            api.engine, limit=question.limit, before=question.next, filters=given, since=since, until=until
        )
        more = items[-1]["id"] if len(items) == question.limit else None
        return {"items": [entry_shown(item) for item in items], "next": more}

    @app.get("/api/requests/{entry_id}", dependencies=admin)
    def request(entry_id: str) -> dict[str, Any]:
        found = queries.request(api.engine, entry_id)
        if not found:
            raise HTTPException(404, "There is no entry and no request with this id.")
        attempts = [entry_shown(item) for item in found]
        return attempts[0] | {"attempts": attempts} if len(attempts) > 1 else attempts[0]

    @app.get("/api/budgets", dependencies=admin)
    def budgets() -> dict[str, Any]:
        return {"items": budgets_as_they_stand(api.budgets(), api.standings(), now_s()), "next": None}

    @app.get("/api/budgets/{name}", dependencies=admin)
    def budget(name: str) -> dict[str, Any]:
        for item in budgets_as_they_stand(api.budgets(), api.standings(), now_s()):
            if item["name"] == name:
                return item
        raise HTTPException(404, "There is no budget with this name.")

    @app.post("/api/budgets/{name}/raises", dependencies=admin, status_code=201)
    def raise_budget(name: str, new: NewRaise) -> dict[str, Any]:
        now = now_s()
        until_s = None if new.until is None else new.until.timestamp()
        try:
            row = raises.make_raise(
                api.engine, api.budgets(), name, by=new.by_usd, group=new.group, until_s=until_s, now_s=now
            )
        except KeyError:
            raise HTTPException(404, "There is no budget with this name.") from None
        except raises.RaiseProblem as problem:
            raise HTTPException(400, f"{problem}.") from None
        api.wait(api.refresh())
        until_at = None if row["until_at"] is None else rfc3339(row["until_at"])
        return {
            "id": row["id"],
            "budget": name,
            "group": row["group"],
            "by_usd": usd_text(row["by_amount"]),
            "until": until_at,
            "created_at": rfc3339(row["created_at"]),
        }

    @app.get("/api/keys", dependencies=admin)
    def list_keys() -> dict[str, Any]:
        configured = [{"id": None, "name": key.name, "team": key.team, "configured": True} for key in api.config().keys]
        return {"items": configured + keys.list_keys(api.engine), "next": None}

    @app.post("/api/keys", dependencies=admin, status_code=201)
    def create_key(new: NewKey) -> dict[str, Any]:
        if any(key.name == new.name for key in api.config().keys):
            raise HTTPException(409, "A key of the configuration has this name.")
        try:
            row, secret = keys.create_key(api.engine, **new.model_dump())
        except keys.KeyProblem as problem:
            raise HTTPException(409, str(problem)) from None
        api.wait(api.refresh())
        return row | {"key": secret}

    @app.delete("/api/keys/{key_id}", dependencies=admin, status_code=204)
    def revoke_key(key_id: str) -> Response:
        if not keys.revoke_key(api.engine, key_id):
            raise HTTPException(404, "There is no such key, or it is revoked, or it stands in the configuration.")
        api.wait(api.refresh())
        return Response(status_code=204)

    return app


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON with a `message`; none shows how we are made."""

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": {"message": error.detail}}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors()]
        return JSONResponse({"error": {"message": "; ".join(problems)}}, 400)

    @app.exception_handler(BadQuestion)
    async def bad(_: Request, error: BadQuestion) -> JSONResponse:
        return JSONResponse({"error": {"message": str(error)}}, 400)

    @app.exception_handler(SQLAlchemyError)
    async def database(_: Request, __: SQLAlchemyError) -> JSONResponse:
        return JSONResponse({"error": {"message": "The ledger database does not answer."}}, 503)


def _add_open_routes(app: FastAPI, api: Api) -> None:
    """What needs no key: liveness and readiness. (The page's shell and files too: page.py.)"""

    @app.get("/healthz")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def ready() -> JSONResponse:
        missing = []
        if api.recorder.database_down_since is not None:
            missing.append("the ledger database")
        if len(api.link.workers) < api.expected_workers:
            missing.append("a data plane")
        return JSONResponse(
            {"status": "ready" if not missing else "not ready", "missing": missing}, 503 if missing else 200
        )
