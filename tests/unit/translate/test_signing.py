"""AWS's signatures by the house's signer: what botocore would have sent, to the byte, and botocore for all that is not meant."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import NoCredentialsError
from hypothesis import given
from hypothesis import strategies as st

from proxy.translate import signing
from proxy.upstream.aws import signer
from tests.support.examples import examples

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
BY_BOTOCORE = SigV4Auth.add_auth


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: NOW)
    monkeypatch.setattr(signer, "time", SimpleNamespace(time=NOW.timestamp))


def signed(add_auth: Any, url: str, *, by: type = SigV4Auth, token: str | None = None, **parts: Any) -> Any:
    request = AWSRequest(**({"method": "POST", "url": url, "data": '{"a":"ü"}', "headers": {}} | parts))
    add_auth(by(Credentials("AKID", "secret/with+signs", token), "bedrock", "eu-west-1"), request)
    prepared = request.prepare()
    return list(prepared.headers.items()), prepared.body, prepared.url


def counted(asked: list[str]) -> Any:
    """The house's, with botocore's behind it, which says when it is asked."""

    def plain(self: Any, request: Any) -> None:
        asked.append(request.url)
        BY_BOTOCORE(self, request)

    return signing.quicker(plain)


@examples(60)
@given(
    host=st.sampled_from(["bedrock.invalid", "Bedrock.Invalid", "127.0.0.1:4100", "bedrock.invalid:443", "h:80"]),
    scheme=st.sampled_from(["http", "https"]),
    path=st.text(st.sampled_from("ab%3A/.~-_:+()é"), max_size=12),
    body=st.one_of(st.text(max_size=20), st.binary(max_size=20)),
    token=st.one_of(st.none(), st.text(st.sampled_from("abc/+="), min_size=1, max_size=9)),
    kind=st.one_of(st.none(), st.sampled_from(["application/json", "  a   b "])),
)
def test_what_is_sent_is_what_botocore_would_have_sent(
    host: str, scheme: str, path: str, body: str | bytes, token: str | None, kind: str | None
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    url = f"{scheme}://{host}/{path}"

    ours = signed(counted([]), url, token=token, data=body, headers=headers)

    assert ours == signed(BY_BOTOCORE, url, token=token, data=body, headers=headers)


def test_a_call_to_bedrock_is_signed_by_the_house() -> None:
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/eu.anthropic.claude-sonnet-4-6%3A0/converse"
    asked: list[str] = []

    ours = signed(counted(asked), url, headers={"Content-Type": "application/json"}, token="t")

    assert not asked
    assert ours == signed(BY_BOTOCORE, url, headers={"Content-Type": "application/json"}, token="t")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://h.invalid/a?x=1", {}),
        ("https://h.invalid/a//b", {}),
        ("https://h.invalid/a/../b", {}),
        ("https://[::1]/a", {}),
        ("https://h.invalid/a", {"params": {"x": "1"}}),
        ("https://h.invalid/a", {"method": "GET"}),
        ("https://h.invalid/a", {"data": {"form": "1"}}),
        ("https://h.invalid/a", {"headers": {"Date": "Sun, 29 Nov 2026 12:00:00 GMT"}}),
        ("https://h.invalid/a", {"headers": {"X-Amz-Target": "t"}}),
        ("https://h.invalid/a", {"headers": {"Authorization": "Bearer x"}}),
        ("https://h.invalid/a", {"by": S3SigV4Auth}),
    ],
)
def test_botocore_signs_what_is_not_meant_here(url: str, parts: dict[str, Any]) -> None:
    asked: list[str] = []

    ours = signed(counted(asked), url, **parts)

    assert asked == [url]
    assert ours == signed(BY_BOTOCORE, url, **parts)


def test_a_clock_that_was_ahead_once_does_not_stay_ahead() -> None:
    """AWS refuses what is signed for later; the clock of budgets, which never goes back, is not asked."""
    headers, _, _ = signed(counted([]), "https://h.invalid/a")

    assert dict(headers)["X-Amz-Date"] == "20261129T120000Z"


class Renewed:
    """Credentials of a role that are renewed while a request is signed."""

    def __init__(self) -> None:
        self._asked = 0

    def _part(self) -> str:
        self._asked += 1
        return f"of the {self._asked}th time"

    access_key = secret_key = token = property(_part)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("AKID", "secret/with+signs", "t")


def test_credentials_that_are_renewed_meanwhile_are_of_one_time() -> None:
    request = AWSRequest("POST", "https://h.invalid/a", data="{}", headers={})

    counted([])(SigV4Auth(Renewed(), "bedrock", "eu-west-1"), request)

    ours = list(request.prepare().headers.items())
    assert ours == signed(BY_BOTOCORE, "https://h.invalid/a", token="t", data="{}")[0]


def test_without_credentials_the_error_is_botocores() -> None:
    request = AWSRequest("POST", "https://h.invalid/a", data="{}")

    with pytest.raises(NoCredentialsError):
        counted([])(SigV4Auth(None, "bedrock", "eu-west-1"), request)
