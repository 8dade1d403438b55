"""The control port's front door: answers what machines ask all the time (liveness, readiness, metrics) by itself.

The API and the pages, 20 MB with FastAPI, are made when somebody first asks for anything else.

The same three paths are routes of the API too, for its schema; both answer with what is in `probes.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.control.api.auth import Guard
from proxy.control.api.own_thread import in_own_thread
from proxy.control.api.probes import LEDGER_AWAY, SECURITY_HEADERS, missing, problem, scraped
from proxy.control.state import ControlState, Unavailable
from proxy.processes.installed import OTHER_VERSION, is_another_version

if TYPE_CHECKING:
    from proxy.control.pages.live import LiveZones

log = logging.getLogger("taximeter.control")

_MOST_SCRAPES = 8  # at once; further ones wait for these


class Front:
    """The control plane's ASGI application. All but `shipped` belongs to the loop."""

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._guard = Guard(lambda: state.config().server)
        self._making: asyncio.Task[ASGIApp] | None = None
        self._live: LiveZones | None = None  # until the pages are there
        self._closed = False
        self._scrapes = ThreadPoolExecutor(_MOST_SCRAPES, "scrape")
        self._own = {"/healthz": self._alive, "/readyz": self._ready, "/metrics": self._metrics}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._own.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if answer is None:
            await (await self._whole())(scope, receive, send)
            return
        response = await _answered(answer, Request(scope))
        response.headers.update(SECURITY_HEADERS)
        await response(scope, receive, send)

    async def _whole(self) -> ASGIApp:
        """All who ask meanwhile wait for the same; who leaves stops it for nobody. What could not be made is tried again."""
        making = self._making
        if making is None or (making.done() and making.exception() is not None):
            making = self._making = asyncio.create_task(in_own_thread(self._make))
        return making.result() if making.done() else await asyncio.shield(making)

    def _make(self) -> ASGIApp:
        """In a thread: it takes half a second."""
        if is_another_version():
            log.error("%s. Until then the API and the pages are made of parts of both", OTHER_VERSION)
        from proxy.control.api.app import create_app  # noqa: PLC0415 - who is asked for metrics only needs none of it
        from proxy.control.pages.live import LiveZones  # noqa: PLC0415 - as above
        from proxy.control.pages.overview import live_queries  # noqa: PLC0415 - as above
        from proxy.control.pages.site import add_pages  # noqa: PLC0415 - as above

        live = LiveZones(lambda tz: live_queries(self._state, ZoneInfo(tz)), self._state.loop)
        app = create_app(self._state)
        add_pages(app, live)
        self._live = live
        if self._closed:
            self._state.loop.call_soon_threadsafe(live.close)
        return app

    def shipped(self) -> None:
        """The recorder has committed a batch. From any thread."""
        if self._live is not None:
            self._live.shipped()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        if self._live is not None:
            self._live.close()

    async def _alive(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        wanting = await missing(self._state)
        answer: dict[str, Any] = {"status": "not ready" if wanting else "ready", "missing": wanting}
        return JSONResponse(answer, 503 if wanting else 200)

    async def _metrics(self, request: Request) -> Response:
        self._guard.metrics(request)
        # In threads of their own: scrapes that wait for a ledger must not keep the control process from its own work.
        accept = request.headers.get("accept", "")
        return await asyncio.get_running_loop().run_in_executor(self._scrapes, scraped, self._state, accept)


async def _answered(answer: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await answer(request)
    except HTTPException as error:
        return problem(error.status_code, error.detail, error.headers)
    except Unavailable as error:
        return problem(503, str(error))
    except SQLAlchemyError:
        return problem(503, LEDGER_AWAY)
