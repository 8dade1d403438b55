"""What questions and answers of several subjects have in common."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from proxy.control.state import ControlState
from proxy.times import BadQuestion, moment, now_s

T = TypeVar("T")
MAX_LIMIT = 1000
_FILTER = "filter."
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


async def _control(request: Request) -> ControlState:
    state: ControlState = request.app.state.control
    return state


Control = Annotated[ControlState, Depends(_control)]

bearer = HTTPBearer(scheme_name="admin key", auto_error=False)
"""Says in the schema what `admin` asks for; decides nothing."""


class Page(BaseModel, Generic[T]):
    """Some items of a list; `next`, where there may be more, is the parameter `next` of the next question."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next: str | None = None


class Filtered(BaseModel):
    """`filter.NAME=VALUE`: only what has that value; "" is none."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str] = Field(init=False)

    def only(self) -> dict[str, str]:
        """The filters. Raises `BadQuestion` where a parameter is none."""
        extra = self.__pydantic_extra__ or {}
        unknown = [name for name in extra if not name.startswith(_FILTER)]
        if unknown:
            raise BadQuestion(f"{unknown[0][:100]}: is not a parameter; a filter is written filter.NAME=VALUE")
        return {name.removeprefix(_FILTER): value for name, value in extra.items()}


class Span(BaseModel):
    """A span of time, `since` (inclusive) to `until` (exclusive), each as RFC 3339 or `7d` (before now)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: str | None = None
    until: str | None = None

    def moments(self) -> tuple[int | None, int | None]:
        """Epoch microseconds. Raises `BadQuestion`."""
        now = now_s()
        return (
            moment(self.since, now) if self.since else None,
            moment(self.until, now) if self.until else None,
        )
