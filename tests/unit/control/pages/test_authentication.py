"""Who is let in: by which secret, for how long, to see what, and that a change needs the token of its own form."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from starlette.requests import Request

from proxy.config.model import Config
from proxy.config.reading import read_section
from proxy.control.api.auth import Guard
from proxy.control.pages.authentication import COOKIE, LIFE_S, Authenticator
from proxy.types import Identity

NOW_S = 1_795_916_000.0
SERVER = {"admin_key": "the-admin-key-of-this", "viewer_key": "a-key-to-look-around"}


class Keys:
    """Virtual keys that a test can revoke."""

    def __init__(self) -> None:
        self.live = [Identity(hashlib.sha256(b"sk-tx-anna").hexdigest(), "anna")]

    def __call__(self) -> list[Identity]:
        return self.live


def door_of(server: dict[str, Any], keys: Keys | None = None) -> Authenticator:
    config = read_section(Config, {"server": server, "keys": [{"name": "file", "key": "sk-of-the-file"}]})
    return Authenticator(lambda: config, keys or Keys(), Guard(lambda: config.server))


def request(cookie: str = "", **headers: str) -> Request:
    sent = {"host": "127.0.0.1:4101", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if cookie:
        sent["cookie"] = f"{COOKIE}={cookie}"
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})


def entered(authenticator: Authenticator, secret: str) -> str:
    cookie = authenticator.sign_in(secret, NOW_S)
    assert cookie is not None
    assert secret not in cookie
    return cookie


@pytest.mark.parametrize(
    ("secret", "role", "key", "may_change"),
    [
        (SERVER["admin_key"], "admin", None, True),
        (SERVER["viewer_key"], "viewer", None, False),
        ("sk-tx-anna", "key", "anna", False),
        ("sk-of-the-file", "key", "file", False),
    ],
)
def test_each_secret_opens_what_is_its_own(secret: str, role: str, key: str | None, may_change: bool) -> None:
    authenticator = door_of(SERVER)
    viewer = authenticator.viewer(request(entered(authenticator, secret)), NOW_S)
    assert viewer is not None
    assert (viewer.role, viewer.key, viewer.may_change) == (role, key, may_change)


@pytest.mark.parametrize("secret", ["", "wrong", "the-admin-key-of-thi", "x" * 2000, "\ud800"])
def test_anything_else_opens_nothing(secret: str) -> None:
    if secret == "\ud800":
        with pytest.raises(UnicodeEncodeError):  # no form can send it: bytes become text with replacements
            door_of(SERVER).sign_in(secret, NOW_S)
    else:
        assert door_of(SERVER).sign_in(secret, NOW_S) is None


def test_a_cookie_ends() -> None:
    authenticator = door_of(SERVER)
    cookie = entered(authenticator, SERVER["admin_key"])
    assert authenticator.viewer(request(cookie), NOW_S + LIFE_S - 1) is not None
    assert authenticator.viewer(request(cookie), NOW_S + LIFE_S) is None


@pytest.mark.parametrize("role", ["admin", "viewer", "key", ""])
def test_a_cookie_that_was_changed_is_none(role: str) -> None:
    authenticator = door_of(SERVER)
    _, until, key_id, nonce, mac = entered(authenticator, "sk-tx-anna").split(".")
    later = str(int(until) + 1)
    changed = [f"admin.{until}.-.{nonce}.{mac}", f"{role}.{later}.{key_id}.{nonce}.{mac}", f"{role}.....", "a" * 2000]
    changed += [f"{role}.{'9' * 300}.{key_id}.{nonce}.{mac}", f"{role}.²{until}.{key_id}.{nonce}.{mac}"]
    assert [cookie for cookie in changed if authenticator.viewer(request(cookie), NOW_S) is not None] == []


def test_another_admin_key_shuts_out_all_and_another_viewers_key_the_viewers() -> None:
    cookies = {name: entered(door_of(SERVER), SERVER[name]) for name in SERVER}
    new_admin = door_of(SERVER | {"admin_key": "another-admin-key-now"})
    new_viewer = door_of(SERVER | {"viewer_key": "another-viewer-key-now"})
    assert [name for name in SERVER if new_admin.viewer(request(cookies[name]), NOW_S)] == []
    assert [name for name in SERVER if new_viewer.viewer(request(cookies[name]), NOW_S)] == ["admin_key"]


def test_a_revoked_or_expired_key_shows_nothing_more() -> None:
    keys = Keys()
    authenticator = door_of(SERVER, keys)
    cookie = entered(authenticator, "sk-tx-anna")
    keys.live = [keys.live[0].__class__(keys.live[0].key_id, "anna", expires_at=NOW_S + 10)]
    assert authenticator.viewer(request(cookie), NOW_S) is not None
    assert authenticator.viewer(request(cookie), NOW_S + 11) is None
    keys.live = []
    assert authenticator.viewer(request(cookie), NOW_S) is None


def test_without_an_admin_key_this_machine_is_let_in_and_no_foreign_page() -> None:
    authenticator = door_of({})
    viewer = authenticator.viewer(request(), NOW_S)
    assert viewer is not None
    assert (viewer.role, viewer.signed_in) == ("admin", False)
    assert authenticator.viewer(request(origin="http://evil.example"), NOW_S) is None
    assert authenticator.viewer(request(sec_fetch_site="cross-site"), NOW_S) is None


def test_a_form_needs_the_token_of_its_viewer() -> None:
    authenticator = door_of(SERVER)
    mine, other = (authenticator.viewer(request(entered(authenticator, SERVER["admin_key"])), NOW_S) for _ in range(2))
    assert mine is not None
    assert other is not None
    assert authenticator.is_own_form(request(), mine, mine.csrf)
    assert not authenticator.is_own_form(request(), mine, other.csrf)
    assert not authenticator.is_own_form(request(), mine, "")
    assert not authenticator.is_own_form(request(), mine, "ä")
    assert not authenticator.is_own_form(request(sec_fetch_site="cross-site"), mine, mine.csrf)
