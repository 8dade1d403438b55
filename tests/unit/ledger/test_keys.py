"""Virtual keys in the database: shown once, revoked for good, the same on both databases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ledger import keys
from proxy.ledger.database import open_ledger


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
