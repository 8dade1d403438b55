"""Virtual keys made at run time: kept as SHA-256, shown once, revoked for good."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine, RowMapping

from proxy.ids import Ids
from proxy.ledger.database import writing
from proxy.ledger.schema import keys
from proxy.times import now_us

_ATTRIBUTES = ("team", "user", "customer")


class KeyProblem(Exception):  # noqa: N818 - told to a person
    """A key cannot be made or found; the message says why."""


def create_key(
    engine: Engine,
    name: str,
    *,
    team: str | None = None,
    user: str | None = None,
    customer: str | None = None,
    labels: Mapping[str, str] | None = None,
    models: Sequence[str] | None = None,
    expires: datetime | None = None,
) -> tuple[dict[str, Any], str]:
    """Make a key: its row as `list_keys` gives it, and its secret, which is nowhere else. Raises `KeyProblem`."""
    if not name or len(name) > 200 or not name.isprintable():
        raise KeyProblem("a key's name must be 1 to 200 printable characters")
    secret = "sk-tx-" + secrets.token_urlsafe(32)
    now = now_us()
    values = {
        "id": Ids().new(now),
        "key_id": hashlib.sha256(secret.encode()).hexdigest(),
        "name": name,
        "team": team,
        "user": user,
        "customer": customer,
        "labels": orjson.dumps(dict(labels)).decode() if labels else None,
        "models": orjson.dumps(list(models)).decode() if models is not None else None,
        "expires_at": int(expires.timestamp() * 1_000_000) if expires else None,
        "created_at": now,
    }
    with writing(engine).begin() as connection:
        taken = sa.select(keys.c.id).where(keys.c.name == name, keys.c.revoked_at.is_(None))
        if connection.execute(taken).first():
            raise KeyProblem(f"there is a key named {name!r} already; revoke it first, or take another name")
        connection.execute(sa.insert(keys).values(values))
    return _shown(values | {"revoked_at": None}), secret


def list_keys(engine: Engine) -> list[dict[str, Any]]:
    """Every key that was made and not revoked, without anything of its secret."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(keys).where(keys.c.revoked_at.is_(None)).order_by(keys.c.created_at))
        return [_shown(row) for row in rows.mappings()]


def _shown(row: Mapping[str, Any] | RowMapping) -> dict[str, Any]:
    expires = datetime.fromtimestamp(row["expires_at"] / 1e6).astimezone().isoformat() if row["expires_at"] else None
    return {
        "id": row["id"],
        "name": row["name"],
        **{name: row[name] for name in _ATTRIBUTES},
        "labels": orjson.loads(row["labels"]) if row["labels"] else {},
        "models": orjson.loads(row["models"]) if row["models"] else None,
        "expires": expires,
        "created_at": datetime.fromtimestamp(row["created_at"] / 1e6).astimezone().isoformat(),
    }


def revoke_key(engine: Engine, id_or_name: str) -> bool:
    """Revoke a key by its id, or by its name; False where there is no such key."""
    statement = (
        sa.update(keys)
        .where(sa.or_(keys.c.id == id_or_name, keys.c.name == id_or_name), keys.c.revoked_at.is_(None))
        .values(revoked_at=now_us())
    )
    with writing(engine).begin() as connection:
        return connection.execute(statement).rowcount > 0


def identities(engine: Engine) -> list[dict[str, Any]]:
    """The live keys as the fields of `Identity`, for the data planes."""
    with engine.connect() as connection:
        rows = (
            connection.execute(sa.select(keys).where(keys.c.revoked_at.is_(None)).order_by(keys.c.id)).mappings().all()
        )
    return [
        {
            "key_id": row["key_id"],
            "key": row["name"],
            **{name: row[name] for name in _ATTRIBUTES},
            "labels": orjson.loads(row["labels"]) if row["labels"] else {},
            "models": orjson.loads(row["models"]) if row["models"] else None,
            "expires_at": row["expires_at"] / 1e6 if row["expires_at"] else None,
        }
        for row in rows
    ]
