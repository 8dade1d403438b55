"""Where credentials come from, and that they are asked for again before they expire."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from proxy.upstream.aws import signer
from proxy.upstream.aws.signer import NoCredentialsError, Signer, static_credentials
from proxy.upstream.aws.sigv4 import Credentials

KEYS = {"aws_access_key_id": "AKIDROW", "aws_secret_access_key": "row"}
ENVIRON = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "env"}


@pytest.mark.parametrize(
    ("params", "environ", "key"),
    [
        (KEYS, ENVIRON, "AKIDROW"),
        ({}, ENVIRON, "AKIDENV"),
        ({}, {}, None),
        ({}, {"AWS_ACCESS_KEY_ID": "AKIDENV"}, None),
        ({}, {**ENVIRON, "AWS_PROFILE": "other"}, None),
        ({**KEYS, "aws_role_name": "arn:aws:iam::1:role/r"}, ENVIRON, None),
        ({"aws_profile_name": "p"}, ENVIRON, None),
    ],
)
def test_what_is_written_down_is_taken_as_it_is(
    params: dict[str, str], environ: dict[str, str], key: str | None
) -> None:
    found = static_credentials(params, environ)

    assert (None if found is None else found.access_key_id) == key


def test_secrets_are_not_shown() -> None:
    assert "row" not in repr(static_credentials(KEYS, {}))


@pytest.mark.parametrize(
    ("token", "asked"),
    [("oidc/env/WEB", "a.b.c"), ("oidc/env/NONE", ""), ("x.y.z", "x.y.z"), ("oidc/file//t", "oidc/file//t")],
)
async def test_a_web_identitys_token_may_stand_in_the_environment(
    token: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    async def login(params: Any) -> Credentials:
        seen.append(params["aws_web_identity_token"])
        return expiring(3600)

    monkeypatch.setattr(signer, "_login", login)
    made = Signer("r", {"aws_role_name": "arn:r", "aws_web_identity_token": token}, {"WEB": "a.b.c"})
    await made.ready()

    assert seen == [asked]


class Logins:
    """Stands for the login: answers what it is told to, and counts."""

    def __init__(self, *answers: Credentials | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, params: Any) -> Credentials:
        self.asked += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def expiring(in_s: float, key: str = "ASIA") -> Credentials:
    return Credentials(key, "s", "t", time.time() + in_s)


async def test_many_calls_at_once_log_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = Logins(expiring(3600))
    monkeypatch.setattr(signer, "_login", logins)
    made = Signer("eu-west-1", {}, {})

    await asyncio.gather(*(made.ready() for _ in range(20)))

    assert logins.asked == 1
    assert b"Credential=ASIA/" in made.headers(b"POST", "h", "/", b"")[b"authorization"]


async def test_they_are_renewed_before_they_expire_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = Logins(expiring(60, "ASIA1"), expiring(3600, "ASIA2"))
    monkeypatch.setattr(signer, "_login", logins)
    made = Signer("eu-west-1", {}, {})
    await made.ready()

    await made.ready()
    at_once = made.headers(b"POST", "h", "/", b"")[b"authorization"]
    assert made._renewing is not None
    await made._renewing
    later = made.headers(b"POST", "h", "/", b"")[b"authorization"]

    assert (b"ASIA1/" in at_once, b"ASIA2/" in later) == (True, True)


async def test_a_renewal_that_fails_costs_nobody_a_call_while_the_old_ones_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logins = Logins(expiring(60), NoCredentialsError("STS is down"))
    monkeypatch.setattr(signer, "_login", logins)
    made = Signer("eu-west-1", {}, {})
    for _ in range(5):
        await made.ready()
        await asyncio.sleep(0.001)

    assert logins.asked == 2


async def test_a_login_that_fails_is_told_and_not_tried_by_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    logins = Logins(NoCredentialsError("no such profile"))
    monkeypatch.setattr(signer, "_login", logins)
    made = Signer("eu-west-1", {}, {})
    for _ in range(3):
        with pytest.raises(NoCredentialsError, match="no such profile"):
            await made.ready()

    assert logins.asked == 1


@pytest.mark.long
async def test_a_profile_is_found_by_awss_own_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, as in `serve`."""
    shared = tmp_path / "credentials"
    shared.write_text("[work]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = of-the-profile\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    by_row, by_environment = Signer("eu-west-1", {"aws_profile_name": "work"}, {}), Signer("eu-west-1", {}, {})

    await by_row.ready()
    monkeypatch.setenv("AWS_PROFILE", "work")
    await by_environment.ready()

    for made in (by_row, by_environment):
        assert b"Credential=AKIDPROFILE/" in made.headers(b"POST", "h", "/", b"")[b"authorization"]
    with pytest.raises(NoCredentialsError, match="ProfileNotFound"):
        await Signer("eu-west-1", {"aws_profile_name": "other"}, {}).ready()
