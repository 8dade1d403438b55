"""Virtual keys made at run time: kept as SHA-256, shown once, revoked for good."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Engine, RowMapping

from proxy.budgets.key_limits import WINDOWS, KeyLimits
from proxy.config.fields import money
from proxy.ids import Ids
from proxy.ledger.database import writing
from proxy.ledger.planes.snapshot import KEY_ATTRIBUTES, identities_of, identity_of, kind_of, limit_of, limits_of
from proxy.ledger.schema import keys
from proxy.money import NANO, usd_text
from proxy.times import instant, now_us, rfc3339

_MOST_CHARS = 200
_MOST_LABELS = 32
_MOST_MODELS = 1000
_MOST_A_MINUTE = 1_000_000_000_000


class KeyProblem(Exception):  # noqa: N818 - told to a person
    """A key cannot be made or found; the message says why."""


class NameTakenError(KeyProblem):
    """Another live key has this name, or this id."""


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
    limits: KeyLimits | None = None,
) -> tuple[dict[str, Any], str]:
    """Make a key: its row as `list_keys` gives it, and its secret, which is nowhere else. Raises `KeyProblem`.

    limits: as `limits_named` gives them.
    """
    _check("name", [name])
    for attribute, value in (("team", team), ("user", user), ("customer", customer)):
        _check(attribute, [] if value is None else [value])
    _check("labels", [*(labels or {}), *(labels or {}).values()], most=2 * _MOST_LABELS)
    _check("models", models or [], most=_MOST_MODELS)
    secret, key_id = _new_secret()
    now = now_us()
    values = {
        "id": Ids().new(now),
        "key_id": key_id,
        "name": name,
        "team": team,
        "user": user,
        "customer": customer,
        "labels": orjson.dumps(dict(labels)).decode() if labels else None,
        "models": orjson.dumps(list(models)).decode() if models is not None else None,
        "expires_at": None if expires is None else int(instant(expires).timestamp() * 1_000_000),
        "created_at": now,
        "limits": orjson.dumps(limits._asdict() | {"key": name}).decode() if limits and limits.is_any else None,
    }
    with writing(engine).begin() as connection:
        taken = sa.select(keys.c.id).where(sa.or_(keys.c.name == name, keys.c.id == name), keys.c.revoked_at.is_(None))
        if connection.execute(taken).first():
            raise NameTakenError(f"there is a key named {name!r} already; revoke it first, or take another name")
        connection.execute(sa.insert(keys).values(values))
    return _shown(values | {"revoked_at": None}), secret


def limits_named(
    name: str, budget_usd: object = None, window: str = "total", rpm: int | None = None, tpm: int | None = None
) -> KeyLimits:
    """What the key of this name may take: so much in each window, so many calls and tokens a minute. Raises `KeyProblem`."""
    try:
        amount = None if budget_usd is None else int(money(budget_usd) * NANO)
    except ValueError as problem:
        raise KeyProblem(f"a key's budget {problem}") from None
    if window not in WINDOWS:
        raise KeyProblem(f"a key's budget is for one of {', '.join(WINDOWS)}, not for {window[:40]!r}")
    for what, limit in (("rpm", rpm), ("tpm", tpm)):
        if limit is not None and not 0 < limit <= _MOST_A_MINUTE:
            raise KeyProblem(f"a key's {what} must be a whole number from 1 to {_MOST_A_MINUTE:,}")
    return KeyLimits(name, amount, window, rpm, tpm)


def limits(engine: Engine) -> list[KeyLimits]:
    """Of the live keys that have any, those made last behind the others; before them what revoked keys had, one of a kind."""
    query = sa.select(keys.c.limits, keys.c.revoked_at).where(keys.c.limits.is_not(None))
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(keys.c.created_at, keys.c.id)).mappings().all()
    return limits_of(rows)


def _new_secret() -> tuple[str, str]:
    """A secret, and what is kept of it."""
    secret = "sk-tx-" + secrets.token_urlsafe(32)
    return secret, hashlib.sha256(secret.encode()).hexdigest()


def rotate_key(engine: Engine, id_or_name: str, *, grace_s: int = 0) -> tuple[dict[str, Any], str] | None:
    """A new secret for the key with this id or name: the same name, team, budgets and spend. The old one works on for
    `grace_s`. The new row and its secret; None where there is no such key."""
    now = now_us()
    with writing(engine).begin() as connection:
        for column in (keys.c.id, keys.c.name):
            live = sa.select(keys).where(column == id_or_name, keys.c.revoked_at.is_(None))
            old = connection.execute(live.order_by(keys.c.created_at.desc())).mappings().first()
            if old is not None:
                break
        else:
            return None
        secret, key_id = _new_secret()
        values = dict(old) | {"id": Ids().new(now), "key_id": key_id, "created_at": now}
        ends = {"expires_at": min(now + grace_s * 1_000_000, old["expires_at"] or now + grace_s * 1_000_000)}
        same = sa.update(keys).where(keys.c.id == old["id"])
        connection.execute(same.values(ends if grace_s else {"revoked_at": now}))
        connection.execute(sa.insert(keys).values(values))
    return _shown(values), secret


def list_keys(engine: Engine) -> list[dict[str, Any]]:
    """Every key that was made and not revoked, without anything of its secret."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(keys).where(keys.c.revoked_at.is_(None)).order_by(keys.c.created_at))
        return [_shown(row) for row in rows.mappings()]


def _shown(row: Mapping[str, Any] | RowMapping) -> dict[str, Any]:
    limit = limit_of(row["limits"]) if row["limits"] else KeyLimits(row["name"])
    return {
        "id": row["id"],
        "name": row["name"],
        **{name: row[name] for name in KEY_ATTRIBUTES},
        "labels": orjson.loads(row["labels"]) if row["labels"] else {},
        "models": orjson.loads(row["models"]) if row["models"] else None,
        "expires": rfc3339(row["expires_at"]),
        "budget_usd": None if limit.nanousd is None else usd_text(limit.nanousd),
        "budget_window": None if limit.nanousd is None else limit.window,
        "rpm": limit.requests_a_minute,
        "tpm": limit.tokens_a_minute,
        "created_at": rfc3339(row["created_at"]),
    }


def revoke_key(engine: Engine, id_or_name: str) -> bool:
    """Revoke the key with this id or else, where there is none, the one with this name; False where there is no such key."""
    with writing(engine).begin() as connection:
        for column in (keys.c.id, keys.c.name):
            live = sa.update(keys).where(column == id_or_name, keys.c.revoked_at.is_(None))
            if connection.execute(live.values(revoked_at=now_us())).rowcount:
                return True
    return False


def _check(what: str, values: Collection[str], most: int = 1) -> None:
    """Each call of the key writes them down: they are short, few, and text."""
    if len(values) > most or not all(0 < len(value) <= _MOST_CHARS and value.isprintable() for value in values):
        many = f"at most {most}, of " if most > 1 else ""
        raise KeyProblem(f"a key's {what} must be {many}1 to {_MOST_CHARS} printable characters")


def identities(engine: Engine) -> list[dict[str, Any]]:
    """The live keys as the fields of `Identity`, for the data planes."""
    with engine.connect() as connection:
        rows = (
            connection.execute(sa.select(keys).where(keys.c.revoked_at.is_(None)).order_by(keys.c.id)).mappings().all()
        )
    return identities_of(rows)


_TOLD = ("id", "key_id", "name", *KEY_ATTRIBUTES, "labels", "models", "expires_at", "limits")
_LIVE = sa.select(*[keys.c[name] for name in _TOLD]).where(keys.c.revoked_at.is_(None))
_REVOKED = sa.select(keys.c.id, keys.c.limits).where(keys.c.revoked_at.is_not(None), keys.c.limits.is_not(None))


class KnownKeys:
    """Keys as `identities` and `limits` give them, read again and again: what is as it was is not looked into again, and is the
    same object."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[Any, dict[str, Any], KeyLimits | None]] = {}  # the row, and what it says
        self._kinds: dict[str, KeyLimits] = {}  # of the limits that revoked keys had

    def read(self, engine: Engine) -> tuple[list[dict[str, Any]], list[KeyLimits]]:
        """In one question for the live ones: a key that is in it has its limits in it, too."""
        before, live = self._live, {}
        with engine.connect() as connection:
            for row in map(tuple, connection.execute(_LIVE.order_by(keys.c.created_at, keys.c.id))):
                known = before.get(row[0])
                if known is None or known[0] != row:
                    said = dict(zip(_TOLD, row, strict=True))
                    known = row, identity_of(said), limit_of(said["limits"]) if said["limits"] else None
                live[row[0]] = known
            kinds = {
                row[0]: self._kinds.get(row[0]) or kind_of(limit_of(row[1])) for row in connection.execute(_REVOKED)
            }
        self._live, self._kinds = live, kinds
        limits = [limit for _, _, limit in live.values() if limit is not None]
        return [identity for _, identity, _ in live.values()], [*sorted(set(kinds.values()), key=str), *limits]
