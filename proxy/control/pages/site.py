"""The pages' routes: sign-in, each page with its tables as CSV, each form's action, and how a page fails."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

import orjson
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException

from proxy.control.api.auth import Guard
from proxy.control.pages import (
    budgets,
    calls,
    capacity,
    customer,
    customers,
    explain,
    health,
    in_flight,
    jobs,
    keys,
    models,
    month,
    overview,
    saved_views,
    sessions,
    spend,
    view,
    welcome,
    what_if,
)
from proxy.control.pages.address import ALL, Address, ranges, read
from proxy.control.pages.authentication import COOKIE, LIFE_S, Authenticator, Viewer
from proxy.control.pages.clock import Clock, in_zone, kept
from proxy.control.pages.files import add_files
from proxy.control.pages.live import LiveZones
from proxy.control.pages.page import Action, Page, PageContent, PageRequest
from proxy.control.pages.tables import csv_of, drawn, lines
from proxy.control.state import ControlState, Unavailable
from proxy.ledger.planes import keys as ledger_keys
from proxy.times import BadQuestion, now_s, now_us
from proxy.types import Identity

log = logging.getLogger("taximeter.page")

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    spend.PAGE,
    calls.PAGE,
    calls.DETAIL_PAGE,
    in_flight.PAGE,
    sessions.PAGE,
    sessions.DETAIL_PAGE,
    budgets.PAGE,
    budgets.DETAIL_PAGE,
    customers.PAGE,
    customer.PAGE,
    month.PAGE,
    models.PAGE,
    capacity.PAGE,
    jobs.PAGE,
    keys.PAGE,
    explain.PAGE,
    what_if.PAGE,
    health.PAGE,
    saved_views.PAGE,
)
ACTIONS: tuple[Action, ...] = (*budgets.ACTIONS, *keys.ACTIONS, *welcome.ACTIONS, *month.ACTIONS, *saved_views.ACTIONS)

_OF_KEYS = frozenset(page.path.split("/")[1] for page in PAGES if page.for_keys)
"""What the holder of a virtual key may open: the first parts of paths."""

_MOST_FORM_BYTES = 64 * 1024
_MOST_FIELDS = 100


def add_pages(app: FastAPI, live: LiveZones) -> None:
    """Every page, action and file, for the application that `create_app` made."""
    state: ControlState = app.state.control
    guard: Guard = app.state.guard
    authenticator = Authenticator(state.config, lambda: _runtime_keys(state), guard)
    router = APIRouter(include_in_schema=False)
    for page in PAGES:
        router.add_api_route(page.path, _shown(page, state, authenticator), methods=["GET"], response_model=None)
    for action in ACTIONS:
        router.add_api_route(action.path, _done(action, state, authenticator), methods=["POST"], response_model=None)
    _add_sign_in(router, authenticator)

    @router.get("/page/live")
    async def stream(request: Request) -> StreamingResponse:
        if not _may_watch(authenticator, request):
            raise HTTPException(401, "Sign in, or send the admin key as `Authorization: Bearer …`.")
        tz = read(request.url.path, request.query_params.multi_items()).tz
        return StreamingResponse(_events(request, authenticator, live, tz), media_type="text/event-stream")

    add_files(router)
    app.router.routes.extend(router.routes)  # included, each would be made twice
    _add_lost(app, authenticator)


def _add_lost(app: FastAPI, authenticator: Authenticator) -> None:
    """Whoever mistypes an address in a browser sees a page; programs get the API's JSON."""
    as_json: Any = app.exception_handlers[StarletteHTTPException]

    @app.exception_handler(StarletteHTTPException)
    async def lost(request: Request, error: StarletteHTTPException) -> Response:
        is_api = request.url.path.startswith(("/api/", "/v1"))
        if error.status_code not in (404, 405) or is_api or "text/html" not in request.headers.get("accept", ""):
            answer: Response = await as_json(request, error)
            return answer
        return await run_in_threadpool(_lost_page, authenticator, request)


def _lost_page(authenticator: Authenticator, request: Request) -> Response:
    """Whoever signed in with a virtual key is looked up in the ledger, which may be away."""
    try:
        viewer = authenticator.viewer(request, now_s())
    except SQLAlchemyError:
        viewer = None
    return _problem(viewer, 404, "There is no page of this name.")


def _runtime_keys(state: ControlState) -> list[Identity]:
    return [Identity(**fields) for fields in ledger_keys.identities(state.engine)]


# Signing in and out


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form; of one that is larger than any of ours, or that is none, nothing."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return {}
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_FORM_BYTES:
            raise HTTPException(413, "The form is too large.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise HTTPException(413, f"The form has more than {_MOST_FIELDS} fields.") from None


Form = Annotated[Mapping[str, str], Depends(_form)]


def _add_sign_in(router: APIRouter, authenticator: Authenticator) -> None:
    @router.get("/sign-in")
    def ask(request: Request) -> Response:
        if authenticator.viewer(request, now_s()) is not None:
            return RedirectResponse(_inside(request.query_params.get("to", "")), 303)
        return _sign_in_page(request.query_params.get("to", ""), "")

    @router.post("/sign-in")
    def enter(request: Request, form: Form) -> Response:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _sign_in_page("", "Another site sent this form.", 403)
        cookie = authenticator.sign_in(form.get("key", "").strip(), now_s()) if authenticator.is_locked else None
        if cookie is None:
            return _sign_in_page(form.get("to", ""), "That key opens nothing here.", 401)
        answer = RedirectResponse(_inside(form.get("to", "")), 303)
        is_secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"
        answer.set_cookie(COOKIE, cookie, max_age=LIFE_S, httponly=True, samesite="strict", secure=is_secure)
        return answer

    @router.post("/sign-out")
    def leave(request: Request, form: Form) -> Response:
        viewer = authenticator.viewer(request, now_s())
        if viewer is not None and not authenticator.is_own_form(request, viewer, form.get("csrf", "")):
            raise HTTPException(403, "This form was not sent from a page of Taximeter.")
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _sign_in_page(to: str, wrong: str, status: int = 200) -> Response:
    return HTMLResponse(view.render("sign_in", {"to": _inside(to), "wrong": wrong}), status)


def _inside(to: str) -> str:
    """Only a path of ours is gone to."""
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"


# Pages


def _shown(page: Page, state: ControlState, authenticator: Authenticator) -> Callable[..., Response]:
    def endpoint(request: Request) -> Response:
        def answer(viewer: Viewer) -> Response:
            address = _scoped(read(request.url.path, request.query_params.multi_items(), page.since), viewer)
            if address.since == ALL and page.whole != ALL:
                since = "" if address.until else page.since  # as where none is given
                address = address._replace(since=since)
            page_request = PageRequest(state, viewer, address.without("csv"), now_us(), request.path_params)
            content = page.show(page_request)
            if name := address.get("csv"):
                return _csv(content, name)
            return _html(page, page_request, content)

        return _guarded(request, authenticator, page.for_keys, answer)

    return endpoint


def _done(action: Action, state: ControlState, authenticator: Authenticator) -> Callable[..., Response]:
    def endpoint(request: Request, form: Form) -> Response:
        def answer(viewer: Viewer) -> Response:
            if not viewer.may_change:
                raise HTTPException(403, "With this key you may look, and change nothing.")
            if not authenticator.is_own_form(request, viewer, form.get("csrf", "")):
                raise HTTPException(
                    403, "This form was not sent from a page of Taximeter, or is too old: load it again."
                )
            fields = {name: value.strip() for name, value in form.items() if name != "csrf"}
            address = Address(request.url.path, tz=read("", request.query_params.multi_items()).tz)
            page_request = PageRequest(state, viewer, address, now_us(), request.path_params, fields)
            done = action.do(page_request)
            if isinstance(done, str):
                there = _inside(done)
                return RedirectResponse(there if address.tz == "UTC" else in_zone(there, address.tz), 303)
            return _html(Page(action.path, "", lambda _: done, ranged=False), page_request, done)

        return _guarded(request, authenticator, for_keys=False, answer=answer)

    return endpoint


def _guarded(
    request: Request, authenticator: Authenticator, for_keys: bool, answer: Callable[[Viewer], Response]
) -> Response:
    """The answer, for whoever may come in; what goes wrong is told on a page."""
    viewer = None
    try:
        viewer = authenticator.viewer(request, now_s())
        if viewer is None:
            if not authenticator.is_locked:
                raise HTTPException(403, "Without server.admin_key only this machine may ask.")
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            to = path if request.method == "GET" else "/"
            return RedirectResponse(f"/sign-in?to={_quoted(to)}", 303)
        if viewer.role == "key" and not for_keys:
            raise HTTPException(403, "With a virtual key only its own spend and calls are shown.")
        return answer(viewer)
    except HTTPException as error:
        return _problem(viewer, error.status_code, str(error.detail))
    except BadQuestion as error:
        return _problem(viewer, 400, f"{error}.")
    except Unavailable as error:
        return _problem(viewer, 503, str(error))
    except DataError:
        return _problem(viewer, 400, "A value is one that the ledger database cannot hold, such as a text with a NUL.")
    except SQLAlchemyError as error:
        log.warning("the page %s: the ledger database does not answer (%s)", request.url.path, type(error).__name__)
        return _problem(viewer, 503, "The ledger database does not answer.")


def _quoted(path: str) -> str:
    return quote(path, safe="/")


def _scoped(address: Address, viewer: Viewer) -> Address:
    """The holder of a virtual key asks about that key, whatever the address says."""
    return address.filtered("key", viewer.key) if viewer.role == "key" else address


def _csv(content: PageContent, name: str) -> Response:
    table = next((table for table in content.tables if table.name == name), None)
    if table is None:
        raise HTTPException(404, f"This page has no table {name[:40]!r}.")
    headers = {"content-disposition": f'attachment; filename="taximeter-{table.name}.csv"'}
    return Response(csv_of(table), media_type="text/csv; charset=utf-8", headers=headers)


def _html(page: Page, page_request: PageRequest, content: PageContent) -> Response:
    address, clock = page_request.address, Clock(page_request.address.tz, page_request.now_us)
    may_open = _OF_KEYS if page_request.viewer.role == "key" else None
    tables = {
        table.name: {
            "table": table,
            "lines": lines(table, may_open, clock),
            "csv": str(address.having(csv=table.name)),
            "sorts": {
                column.name: str(address.without("next").having(sort=column.name))
                for column in table.columns
                if column.sort
            },
            "sorted": address.get("sort"),
        }
        for table in map(drawn, content.tables)
    }
    values = {
        "page": page,
        "shown": content,
        "tables": tables,
        "address": address,
        "clock": clock,
        "is_form_answer": page not in PAGES,
        "on_paper": clock.on_paper(*page_request.moments(), page.whole) if page.ranged else clock.printed(),
        "viewer": page_request.viewer,
        "nav": _nav(page_request.viewer, page_request.address),
        "ranges": _ranges(page, address, page_request.now_us) if page.ranged else [],
        "chips": _chips(address, page_request.viewer),
        "curl": content.api,
        "savable": page_request.viewer.may_change
        and bool(page.ranged or address.rest or address.by)
        and page is not saved_views.PAGE,
        **content.values,
    }
    return HTMLResponse(kept(view.render(content.template, values), address.tz))


def _nav(viewer: Viewer, address: Address) -> list[dict[str, Any]]:
    """The pages that this viewer may see; time and zone go with him."""
    first = "/" + address.path.split("/")[1]
    return [
        {
            "word": page.menu_title,
            "link": str(Address(page.path, address.since, address.until, address.tz) if page.ranged else page.path),
            "here": page.path == first,
            "jump": page.shortcut,
        }
        for page in PAGES
        if page.menu_title and (page.for_keys or viewer.role != "key")
    ]


def _ranges(page: Page, address: Address, now_us: int) -> list[dict[str, Any]]:
    return [
        {
            "title": range_.title,
            "link": str(address.within(range_)),
            "here": (range_.since, range_.until) == (address.since, address.until)
            or (range_.title == page.whole and not address.since and not address.until),
        }
        for range_ in ranges(address.zone, now_us / 1e6)
        if range_.since != ALL or page.whole == ALL
    ]


def _chips(address: Address, viewer: Viewer) -> list[dict[str, str]]:
    """The filters in force, each with the link that ends it."""
    return [
        {"name": name, "value": value or "(none)", "end": str(address.unfiltered(name))}
        for name, value in address.filters
        if not (viewer.role == "key" and name == "key")
    ]


def _problem(viewer: Viewer | None, status: int, text: str) -> Response:
    values = {
        "text": text,
        "status": status,
        "nav": _nav(viewer, Address("/problem")) if viewer else [],
        "viewer": viewer,
    }
    return HTMLResponse(view.render("problem", values), status)


# What changes while it is looked at


def _may_watch(authenticator: Authenticator, request: Request) -> bool:
    viewer = authenticator.viewer(request, now_s())
    return viewer is not None and viewer.role != "key"


async def _events(request: Request, authenticator: Authenticator, live: LiveZones, tz: str) -> AsyncIterator[bytes]:
    async for parts in live.of(tz).watch():
        if not _may_watch(authenticator, request):  # signed out by a reload of the configuration, or by the clock
            return
        zoned = {name: kept(part, tz) if isinstance(part, str) else part for name, part in parts.items()}
        yield b"data: " + orjson.dumps(zoned) + b"\n\n"
