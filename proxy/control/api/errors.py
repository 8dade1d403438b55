"""Every error of the API is JSON with a `message`; none shows how we are made."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from proxy.control.api.probes import LEDGER_AWAY, problem
from proxy.control.state import Unavailable
from proxy.dialects import find
from proxy.times import BadQuestion


class Message(BaseModel):
    """What is wrong and what to do, in a sentence for a person."""

    model_config = ConfigDict(frozen=True)

    message: str


class Problem(BaseModel):
    """The body of every answer that is no success."""

    model_config = ConfigDict(frozen=True)

    error: Message


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The question makes no sense; the message says which part."},
    401: {"model": Problem, "description": "The admin key is missing or wrong."},
    403: {"model": Problem, "description": "Without an admin key only this machine may ask."},
    503: {"model": Problem, "description": "The ledger, the budget store or a data plane does not answer."},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is nothing of this name."}}


def add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path
        if error.status_code == 404 and (path.startswith("/v1") or find(request.method, path, b"") is not None):
            port = request.app.state.control.config().server.port
            return problem(
                404, f"Calls to models go to port {port} (server.port); here are the page, the API and metrics."
            )
        return problem(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [f"{'.'.join(str(part) for part in item['loc'][1:])}: {item['msg']}" for item in error.errors()]
        return problem(400, "; ".join(wrong))

    @app.exception_handler(BadQuestion)
    async def bad(_: Request, error: BadQuestion) -> JSONResponse:
        return problem(400, str(error))

    @app.exception_handler(DataError)
    async def unfit(_: Request, __: DataError) -> JSONResponse:
        return problem(400, "A value is one that the ledger database cannot hold, such as a text with a NUL.")

    @app.exception_handler(SQLAlchemyError)
    async def database(_: Request, __: SQLAlchemyError) -> JSONResponse:
        return problem(503, LEDGER_AWAY)

    @app.exception_handler(Unavailable)
    async def unavailable(_: Request, error: Unavailable) -> JSONResponse:
        return problem(503, str(error))
