"""Saved views: an address of the page's under a name, for everybody who may look."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger.database import upsert, writing
from proxy.ledger.view_schema import saved_views
from proxy.times import BadQuestion

MOST = 500
MOST_NAME_CHARS = 80
_MOST_CHARS = 4000


class SavedView(NamedTuple):
    """address: a path with its query string. saved_at: epoch microseconds."""

    name: str
    address: str
    saved_at: int


def save_view(engine: Engine, view: SavedView) -> None:
    """Keep it; one of the same name is replaced. Raises `BadQuestion`."""
    if not view.name or len(view.name) > MOST_NAME_CHARS or not view.name.isprintable():
        raise BadQuestion(f"name: 1 to {MOST_NAME_CHARS} printable characters")
    if len(view.address) > _MOST_CHARS:
        raise BadQuestion("the view is too long to be saved")
    with writing(engine).begin() as connection:
        others = sa.select(sa.func.count()).select_from(saved_views).where(saved_views.c.name != view.name)
        if connection.execute(others).scalar_one() >= MOST:
            raise BadQuestion(f"{MOST} views are saved; forget one first")
        connection.execute(upsert(engine, saved_views), [view._asdict()])


def forget_view(engine: Engine, name: str) -> bool:
    """False where there is none of this name."""
    with writing(engine).begin() as connection:
        return connection.execute(sa.delete(saved_views).where(saved_views.c.name == name)).rowcount > 0


def views(engine: Engine) -> list[SavedView]:
    """By name."""
    with engine.connect() as connection:
        return [SavedView(*row) for row in connection.execute(sa.select(saved_views).order_by(saved_views.c.name))]
