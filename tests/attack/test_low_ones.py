"""Small holes, each of a kind: hosts that only look local, secrets in errors, settings that limit nothing, names of sessions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from proxy import rate_limited_log
from proxy.config.checks import load_config
from proxy.config.problems import ConfigError
from proxy.config.server import Server
from proxy.control.api.auth import Guard
from proxy.rate_limited_log import RateLimitedLog
from proxy.sessions.known_clients import canonical, find
from tests.flow.house import Answer, Build

# Who is local, where no key is needed


def asked(**headers: str) -> int:
    """The status that a control plane without a key gives a request with these headers."""
    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": sent})
    try:
        Guard(Server).admin(request)
    except HTTPException as error:
        return error.status_code
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:4101", "localhost:4101", "LOCALHOST", "[::1]", "[::1]:4101"])
def test_this_machine_is_let_in(host: str) -> None:
    assert asked(host=host) == 200
    assert asked(host=host, origin=f"http://{host}", sec_fetch_site="same-origin") == 200
    assert asked(host=host, sec_fetch_site="none") == 200


@pytest.mark.parametrize(
    "host",
    [
        "[::1", "::1", "[::1]x", "[evil]", "127.0.0.1#evil", "127.0.0.1/", "127.0.0.1?", "x@127.0.0.1", "127.0.0.1:", "",
        "127.0.0.1:80:80", "localhost.evil", "evil", "127.0.0.1 ", "127.0.0.1,evil", "localhost\\evil", "[::1]:x", "1" * 300,
    ],
)  # fmt: skip
def test_no_other_host_is(host: str) -> None:
    assert asked(host=host) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://[::1"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"}, {"origin": "ftp://127.0.0.1"},
        {"origin": "http://127.0.0.1/"}, {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
    ],
)  # fmt: skip
def test_no_page_of_another_origin_is(headers: dict[str, str]) -> None:
    assert asked(host="127.0.0.1", **headers) == 403


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.text(st.characters(max_codepoint=255), max_size=60))
def test_whatever_is_sent_is_answered(host: str, origin: str) -> None:
    assert asked(host=host, origin=origin) == 403


# Our own credentials, where an upstream repeats them

SECRETS = {
    "up": {
        "base_url": "http://127.0.0.1:1/v1", "api_key": "sk-upstream-secret", "provider": "acme",
        "headers": {"x-extra": "Basic dXNlcjpwYXNzd29yZA==", "x-word": "eu"},
    }
}  # fmt: skip


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
@pytest.mark.parametrize("told", ["sk-upstream-secret", "Bearer sk-upstream-secret", "dXNlcjpwYXNzd29yZA=="])
async def test_an_upstreams_error_does_not_tell_our_secrets(build: Build, status: int, told: str) -> None:
    body = orjson.dumps({"error": {"message": f"no such key: {told}, sorry, eu"}})
    headers = ((b"x-ratelimit-reset", told.encode()),)
    got = await build(upstreams=SECRETS).ask(Answer(body, status=status, headers=headers))
    assert got.status == status
    assert b"sorry, eu" in got.body
    assert b"secret" not in got.body
    assert b"dXNl" not in got.body
    assert "secret" not in got.headers["x-ratelimit-reset"]


ERRORS = {
    "OpenAI": 'data: {"error": {"message": "no such key: %s, sorry"}}',
    "Anthropic": 'event: error\ndata: {"type": "error", "error": {"type": "authentication_error", "message": "%s, sorry"}}',
    "Responses": 'data: {"type": "response.failed", "response": {"object": "response", "status": "failed", "x": "%s, sorry"}}',
    "FastAPI": 'data: {"detail": "no such key: %s, sorry"}',
    "DashScope": 'data: {"code": "InvalidApiKey", "message": "%s, sorry"}',
    "text": "event: error\ndata: no such key: %s, sorry",
    "comment": ": no such key: %s, sorry",
}
TOLD = ["sk-upstream-secret", "Bearer sk-upstream-secret", "Basic dXNlcjpwYXNzd29yZA=="]


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("before", [b"", b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'])
async def test_an_error_in_a_stream_does_not_tell_our_secrets(
    build: Build, name: str, told: str, before: bytes
) -> None:
    event = (ERRORS[name] % told).encode() + b"\n\n"
    for pieces in ([before + event], [before + event[:40], event[40:]]):
        got = await build(upstreams=SECRETS).ask(Answer(*pieces, kind=b"text/event-stream"), stream=True)
        assert (got.status, b"sorry" in got.body) == (200, True)
        assert b"secret" not in got.body
        assert b"dXNl" not in got.body


@pytest.mark.parametrize("told", TOLD)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_of_status_200_does_not_tell_our_secrets(build: Build, told: str, stream: bool) -> None:
    body = orjson.dumps({"error": {"message": f"no such key: {told}, sorry"}})
    kind = b"text/event-stream" if stream else b"application/json"
    got = await build(upstreams=SECRETS).ask(Answer(body, kind=kind), stream=stream)
    assert b"sorry" in got.body
    assert b"secret" not in got.body
    assert b"dXNl" not in got.body


async def test_what_a_model_wrote_is_passed_on_as_it_is(build: Build) -> None:
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "sk-upstream-secret"}}]}\n\n'
    got = await build(upstreams=SECRETS).ask(Answer(event, kind=b"text/event-stream"), stream=True)
    assert event in got.body


async def test_a_fault_of_ours_is_told_once_a_minute_with_its_count(
    build: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house, now = build(), 0.0
    faults = RateLimitedLog(logging.getLogger("taximeter.faults"), logging.ERROR, lambda: now)
    monkeypatch.setattr(rate_limited_log, "FAULTS", faults)
    monkeypatch.setattr(house.plane.keys, "identify", lambda *_: {}["what a client said"])
    for _ in range(50):
        assert (await house.ask()).status == 500
    assert caplog.text.count("Traceback") == 1
    now = 61.0
    faults.tell()
    assert caplog.messages[-1].endswith(": 49 times more in 61 s")
    assert "what a client said" not in caplog.messages[-1]


async def test_an_error_without_end_is_cut(build: Build) -> None:
    got = await build(upstreams=SECRETS).ask(Answer(*[b"x" * 1_000_000] * 30, b"sk-upstream-secret", status=500))
    assert got.status == 500
    assert len(got.body) < 12_000_000


# Settings that do not say what they seem to

BASE: Mapping[str, Any] = {
    "upstreams": {"up": {"base_url": "https://api.example/v1", "api_key": "sk-0123456789abcdef", "provider": "acme"}},
    "models": {"m-*": {"upstream": "up"}},
    "keys": [{"name": "k", "key": "sk-key-0123456789abcdef", "team": "payments"}],
}


def loaded(
    tmp_path: Path, text: str | None = None, environ: Mapping[str, str] | None = None, **changes: Any
) -> list[str]:
    """The warnings. Raises ConfigError."""
    file = tmp_path / "c.yaml"
    file.write_bytes(text.encode() if text is not None else orjson.dumps({**BASE, **changes}))
    return load_config(file, environ or {})[1]


def upstream(**changes: Any) -> dict[str, Any]:
    return {"up": {**BASE["upstreams"]["up"], **changes}}


@pytest.mark.parametrize("number", ["010", "0x10", "0b11", "1:30", "-07", "1:30.5", "0_1"])
def test_a_number_that_yaml_reads_otherwise_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(ConfigError, match=f"{number} would be read as"):
        loaded(tmp_path, f"budgets: [{{name: b, limit_usd: {number}, window: day}}]")


@pytest.mark.parametrize("number", ["10", "0", "1.5", "1_000", '"10"', "1e3"])
def test_other_numbers_are_what_they_seem(tmp_path: Path, number: str) -> None:
    warnings = loaded(tmp_path, f"budgets: [{{name: b, limit_usd: {number}, window: day}}]")
    assert [warning for warning in warnings if warning.startswith("budgets")] == []


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"upstreams": upstream(api_key="sk-one\r\nx-two: 3")}, "upstreams.up.api_key"),
        ({"upstreams": upstream(api_key="sk-ключ-0123456789")}, "upstreams.up.api_key"),
        ({"upstreams": upstream(headers={"x-a": "λ"})}, "upstreams.up.headers.x-a"),
        ({"upstreams": upstream(headers={"x-a": "b\r\nc"})}, "upstreams.up.headers.x-a"),
        ({"upstreams": upstream(headers={"x a": "b"})}, "upstreams.up.headers.x a"),
        ({"upstreams": upstream(headers={"Content-Length": "5"})}, "upstreams.up.headers.Content-Length"),
        ({"upstreams": upstream(headers={"transfer-encoding": "chunked"})}, "upstreams.up.headers.transfer-encoding"),
        ({"upstreams": upstream(headers={"host": "x"})}, "upstreams.up.headers.host"),
        ({"upstreams": upstream(base_url="https://api.example/v1 ")}, "upstreams.up.base_url"),
        ({"upstreams": upstream(base_url="https://api.exa mple/v1")}, "upstreams.up.base_url"),
        ({"upstreams": upstream(base_url="https://[::1/v1")}, "upstreams.up.base_url"),
        ({"upstreams": upstream(base_url="https://api.example:99999/v1")}, "upstreams.up.base_url"),
        ({"upstreams": upstream(base_urls={"anthropic": "https://a b"})}, "upstreams.up.base_urls.anthropic"),
        ({"budgets": [{"name": "b", "limit_usd": 1, "window": "day", "match": {"team": []}}]}, "budgets[0].match.team"),
        ({"keys": [{**BASE["keys"][0], "models": "${ALLOWED:-}"}]}, "keys[0].models"),
        ({"keys": [{**BASE["keys"][0], "expires": "${UNTIL:-}"}]}, "keys[0].expires"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_a_problem(tmp_path: Path, changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, **changes)
    assert [problem.path for problem in refused.value.problems] == [where]


@pytest.mark.parametrize(
    ("match", "idle"),
    [
        ({"team": "paymentz"}, True), ({"team": ["payments", "refunds"]}, True), ({"key": "other"}, True),
        ({"model": "n-1"}, True), ({"upstream": "down"}, True), ({"provider": "openai"}, True),
        ({"team": "payments"}, False), ({"team": "pay*"}, False), ({"model": "m-1"}, False), ({"model": "*"}, False),
        ({"model": "m-1*"}, False), ({"provider": "acme"}, False), ({"user": "anybody"}, False),
    ],
)  # fmt: skip
def test_a_budget_that_nothing_can_count_in_is_warned_of(tmp_path: Path, match: dict[str, Any], idle: bool) -> None:
    warnings = loaded(tmp_path, budgets=[{"name": "b", "limit_usd": 1, "window": "day", "match": match}])
    assert bool(warnings) is idle
    assert all(text.startswith("budgets[0].match.") for text in warnings)


@pytest.mark.parametrize(
    ("url", "open_"),
    [("http://api.example/v1", True), ("http://10.0.0.1/v1", True), ("http://127.0.0.1/v1", False), ("https://a.b/v1", False)],
)  # fmt: skip
def test_a_key_that_goes_unencrypted_is_warned_of(tmp_path: Path, url: str, open_: bool) -> None:
    assert bool(loaded(tmp_path, upstreams=upstream(base_url=url))) is open_


# What clients call their sessions: whatever it is, it is a session


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("plain-id:1/2", "plain-id:1/2"), ("with blank", "with%20blank"), ("Gespräch 7", "Gespr%C3%A4ch%207"),
        ("会話-00001", "%E4%BC%9A%E8%A9%B1-00001"), ("tab\tinside", "tab%09inside"), (" around  ", "around"), ("100% sure", "100%%20sure"),
    ],
)  # fmt: skip
def test_a_session_of_any_name_is_that_session(sent: str, name: str) -> None:
    in_body = find({}, {"metadata": {"session_id": sent}}, "other")
    in_header = find({b"x-litellm-session-id": sent.encode()}, {}, "other")
    assert in_body is not None
    assert in_header is not None
    assert in_body.session_id == in_header.session_id == name


def test_header_bytes_that_are_no_utf8_are_read_as_latin1() -> None:
    found = find({b"x-session-id": b"Gespr\xe4ch"}, {}, "other")
    assert found is not None
    assert found.session_id == "Gespr%C3%A4ch"


@given(st.text(max_size=600))
def test_a_canonical_name_is_short_visible_and_stays_itself(text: str) -> None:
    name = canonical(text)
    assert (name is None) == (not text.strip())
    if name is not None:
        assert 1 <= len(name) <= 200
        assert all("!" <= character <= "~" for character in name)
        assert canonical(name) == name


def test_long_names_stay_apart() -> None:
    first, second = canonical("x" * 500 + "1"), canonical("x" * 500 + "2")
    assert first != second
    assert canonical("x" * 500 + "1") == first
