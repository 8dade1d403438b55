"""Keys: only a known, current, exact secret identifies anybody, and every other answer is the same."""

from __future__ import annotations

import hashlib

import pytest

from proxy.access.keys import KeyRing, credential
from proxy.errors import Refused
from proxy.types import Identity
from tests.support.rows import each_row

SECRET = "sk-tx-" + "a" * 60


def identity(secret: str, **fields: object) -> Identity:
    return Identity(key_id=hashlib.sha256(secret.encode()).hexdigest(), key="k", **fields)  # type: ignore[arg-type]


RING = KeyRing([identity(SECRET, team="t")])


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": f"Bearer {SECRET}".encode()},
        {b"authorization": f"bearer  {SECRET} ".encode()},
        {b"x-api-key": SECRET.encode()},
        {b"api-key": SECRET.encode()},
        {b"x-goog-api-key": SECRET.encode()},
        {b"authorization": b"Basic eDp5", b"x-api-key": SECRET.encode()},
    ],
)
def test_a_key_is_found_where_clients_send_it(headers: dict[bytes, bytes]) -> None:
    assert RING.identify(headers, 0).team == "t"


HOSTILE = [
    b"", b"Bearer", b"Bearer ", b"Bearer ' OR 1=1--", b"Bearer \x00", b"Bearer " + b"a" * 1_000_000, b"Bearer \xff\xfe", b"Bearer %00",
    b"Bearer " + SECRET[:-1].encode(), b"Bearer " + SECRET.encode() + b"a", b"Bearer " + SECRET.upper().encode(), b"Token " + SECRET.encode(),
    b"Bearer " + hashlib.sha256(SECRET.encode()).hexdigest().encode(), SECRET.encode(),
]  # fmt: skip


@each_row("value", HOSTILE)
def test_anything_else_gets_the_same_answer(value: bytes) -> None:
    """The stored hash is no credential either."""
    with pytest.raises(Refused) as refused:
        RING.identify({b"authorization": value}, 0)
    assert (refused.value.refusal.status, refused.value.refusal.code) == (401, "invalid_api_key")
    with pytest.raises(Refused) as missing:
        RING.identify({}, 0)
    assert refused.value.refusal == missing.value.refusal


def test_an_expired_key_is_unknown() -> None:
    ring = KeyRing([identity(SECRET, expires_at=100.0)])
    headers = {b"x-api-key": SECRET.encode()}
    assert ring.identify(headers, 99.9).key == "k"
    with pytest.raises(Refused):
        ring.identify(headers, 100.0)


def test_runtime_keys_come_and_go_and_configured_ones_stay() -> None:
    ring = KeyRing([identity(SECRET)])
    ring.replace_runtime_keys([identity("another-secret-of-length", team="late")])
    assert ring.identify({b"x-api-key": b"another-secret-of-length"}, 0).team == "late"
    ring.replace_runtime_keys([])
    with pytest.raises(Refused):
        ring.identify({b"x-api-key": b"another-secret-of-length"}, 0)
    assert ring.identify({b"x-api-key": SECRET.encode()}, 0)


def test_a_runtime_key_cannot_take_the_place_of_a_configured_one() -> None:
    ring = KeyRing([identity(SECRET, team="configured")])
    ring.replace_runtime_keys([identity(SECRET, team="made at run time")])
    assert ring.identify({b"x-api-key": SECRET.encode()}, 0).team == "configured"


def test_the_first_credential_header_counts() -> None:
    assert credential({b"authorization": b"Bearer one", b"x-api-key": b"two"}) == b"one"
