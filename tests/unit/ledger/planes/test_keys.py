"""Virtual keys in the database: shown once, revoked for good, the same on both databases."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger import schema
from proxy.ledger.database import open_ledger
from proxy.ledger.planes import keys


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = open_ledger(database)
    yield opened
    opened.dispose()


def test_a_key_is_made_listed_and_revoked(engine: Engine) -> None:
    expires = datetime(2027, 1, 1, tzinfo=UTC)
    made, secret = keys.create_key(
        engine, "ci", team="platform", labels={"plan": "pro"}, models=["gpt-*"], expires=expires
    )
    assert keys.list_keys(engine) == [made]
    (identity,) = keys.identities(engine)
    assert identity["key_id"] == hashlib.sha256(secret.encode()).hexdigest()
    assert (identity["team"], identity["labels"], identity["models"]) == ("platform", {"plan": "pro"}, ["gpt-*"])
    assert identity["expires_at"] == expires.timestamp()
    assert keys.revoke_key(engine, "ci") is True
    assert keys.revoke_key(engine, made["id"]) is False
    assert (keys.list_keys(engine), keys.identities(engine)) == ([], [])


def test_two_live_keys_cannot_have_one_name(engine: Engine) -> None:
    keys.create_key(engine, "ci")
    with pytest.raises(keys.KeyProblem):
        keys.create_key(engine, "ci")
    keys.revoke_key(engine, "ci")
    keys.create_key(engine, "ci")


def test_the_secret_is_nowhere_in_the_database(engine: Engine) -> None:
    _, secret = keys.create_key(engine, "ci")
    with engine.connect() as connection:
        (row,) = connection.execute(sa.text("SELECT * FROM keys")).all()
    assert not any(secret in str(value) or secret[6:] in str(value) for value in row)


def test_a_key_that_expired_at_the_beginning_of_time_is_expired(engine: Engine) -> None:
    """Not one that never expires: 0 is an instant."""
    made, _ = keys.create_key(engine, "old", expires=datetime(1970, 1, 1, tzinfo=UTC))
    (identity,) = keys.identities(engine)
    assert identity["expires_at"] == 0
    assert made["expires"] is not None


def test_a_time_without_an_offset_is_utc(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        keys.create_key(engine, "ci", expires=datetime(2027, 1, 1))
    finally:
        monkeypatch.undo()
        time.tzset()
    (identity,) = keys.identities(engine)
    assert identity["expires_at"] == datetime(2027, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "fields",
    [
        {"team": "x" * 201}, {"team": "a\x00b"}, {"user": "\ud800"}, {"customer": ""}, {"customer": "a\nb"},
        {"labels": {"a": "x" * 1_000_000}}, {"labels": {str(n): "x" for n in range(33)}}, {"models": ["m"] * 1001},
        {"models": ["\x1b"]},
    ],
)  # fmt: skip
def test_what_every_call_would_write_down_is_short_text(engine: Engine, fields: dict[str, Any]) -> None:
    with pytest.raises(keys.KeyProblem, match=next(iter(fields))):
        keys.create_key(engine, "ci", **fields)


def test_an_id_means_its_own_key_whatever_others_are_called(engine: Engine) -> None:
    made, _ = keys.create_key(engine, "ci")
    with pytest.raises(keys.NameTakenError):
        keys.create_key(engine, made["id"])
    with engine.begin() as connection:  # as one that is older than this rule
        row = connection.execute(sa.select(schema.keys)).mappings().one()
        connection.execute(sa.insert(schema.keys), dict(row) | {"id": "z", "key_id": "z", "name": made["id"]})
    assert keys.revoke_key(engine, made["id"])
    assert [one["id"] for one in keys.list_keys(engine)] == ["z"]


def test_times_of_keys_are_in_utc_with_a_z_as_everywhere(engine: Engine) -> None:
    keys.create_key(engine, "timed", expires=datetime(2099, 1, 2, 5, tzinfo=timezone(timedelta(hours=3))))
    (shown,) = keys.list_keys(engine)

    assert shown["expires"] == "2099-01-02T02:00:00.000000Z"
    assert shown["created_at"].endswith("Z")
