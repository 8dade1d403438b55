"""Virtual keys: made, listed, revoked; effective in every process within a second."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from proxy.config.fields import PositiveInt, Usd, Window
from proxy.control.api.errors import NOT_FOUND, Problem
from proxy.control.api.questions import Control, Page
from proxy.ledger.planes import keys
from proxy.reports.key_use import key_use, keys_shown, why_unusable
from proxy.reports.shapes import Shown
from proxy.times import instant, now_s

router = APIRouter()
_FIRST_YEAR, _LAST_YEAR = 1971, 9998


def _in_reach(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"the year must be between {_FIRST_YEAR} and {_LAST_YEAR}")
    return moment


Expiry = AfterValidator(_in_reach)
"""At the ends of the calendar a time has no other time zone, and no number of seconds: it could be kept, but never shown."""


class NewKey(BaseModel):
    """`models`: names, or `prefix-*`; null: all. `budget_usd`: what it may spend in each `budget_window` (UTC): a budget that
    blocks, of its own. `rpm`, `tpm`: its calls and tokens a minute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    team: str | None = None
    user: str | None = None
    customer: str | None = None
    labels: dict[str, str] = {}
    models: list[str] | None = None
    expires: Annotated[datetime, BeforeValidator(instant), Expiry] | None = None
    budget_usd: Usd | None = None
    budget_window: Window = "total"
    rpm: PositiveInt | None = None
    tpm: PositiveInt | None = None


class _Use(Shown):
    """`last_used`: the UTC day of its latest call; null: never used."""

    last_used: str | None = None
    requests: int = 0
    cost_usd: str = "0"
    unpriced_requests: int = 0


class ConfiguredKey(_Use):
    """A key of the configuration: it can be neither changed nor revoked here, and its limits are the configuration's."""

    id: None = None
    name: str
    team: str | None
    user: str | None
    customer: str | None
    labels: dict[str, str]
    models: list[str] | None
    expires: str | None
    budget_usd: None = None
    budget_window: None = None
    rpm: None = None
    tpm: None = None
    configured: bool = True


class Key(Shown):
    """`budget_usd` for each `budget_window`, `rpm`, `tpm`: what it was made with; null: no such limit."""

    id: str
    name: str
    team: str | None
    user: str | None
    customer: str | None
    labels: dict[str, str]
    models: list[str] | None
    expires: str | None
    budget_usd: str | None
    budget_window: str | None
    rpm: int | None
    tpm: int | None
    created_at: str


class KeyInUse(Key, _Use):
    pass


class Rotation(BaseModel):
    """`grace_s`: for how long the old secret works on; 0: it ends at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grace_s: Annotated[int, Field(ge=0, le=31_536_000)] = 0


class NewlyMadeKey(Key):
    """`key` is the secret: shown this once, and kept nowhere."""

    key: str


@router.get("/keys")
def list_keys(state: Control) -> Page[ConfiguredKey | KeyInUse]:
    """The configuration's keys, and those made at run time, with their use; never a secret."""
    items = keys_shown(state.config().keys, keys.list_keys(state.engine), key_use(state.engine))
    return Page(items=[(KeyInUse if item["id"] else ConfiguredKey)(**item) for item in items])


@router.post(
    "/keys", status_code=201, responses={409: {"model": Problem, "description": "The name is taken, or none."}}
)
def create_key(new: NewKey, state: Control) -> NewlyMadeKey:
    """Make a key and show it, this once."""
    if any(key.name == new.name for key in state.config().keys):
        raise HTTPException(409, "A key of the configuration has this name.")
    problem = why_unusable(new.models, new.expires, state.config().models, now_s())
    if problem:
        raise HTTPException(400, f"{problem}.")
    try:
        made = dict(new)
        limits = keys.limits_named(
            new.name, *(made.pop(name) for name in ("budget_usd", "budget_window", "rpm", "tpm"))
        )
        row, secret = keys.create_key(state.engine, **made, limits=limits)
    except keys.NameTakenError as problem:
        raise HTTPException(409, str(problem)) from None
    except keys.KeyProblem as problem:
        raise HTTPException(400, str(problem)) from None
    state.wait(state.refresh())
    return NewlyMadeKey(**row, key=secret)


@router.post("/keys/{key_id}/rotate", status_code=201, responses=NOT_FOUND)
def rotate_key(key_id: str, rotation: Rotation, state: Control) -> NewlyMadeKey:
    """A new secret for a key, by its id or its name: the same name, budgets and spend."""
    rotated = keys.rotate_key(state.engine, key_id, grace_s=rotation.grace_s)
    if rotated is None:
        raise HTTPException(404, _NO_KEY)
    state.wait(state.refresh())
    return NewlyMadeKey(**rotated[0], key=rotated[1])


_NO_KEY = "There is no key with this name, or it is revoked, or it is a key of the configuration."


@router.delete("/keys/{key_id}", status_code=204, responses=NOT_FOUND)
def revoke_key(key_id: str, state: Control) -> Response:
    """Revoke a key for good, by its id or its name."""
    if not keys.revoke_key(state.engine, key_id):
        raise HTTPException(404, _NO_KEY)
    state.wait(state.refresh())
    return Response(status_code=204)
