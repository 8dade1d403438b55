"""What an answer means: taken, later, or never; and what is said of it holds no secret."""

from __future__ import annotations

import pytest
from urllib3 import ProxyManager

from proxy.exports.posting import Answer, Poster, check
from proxy.exports.sink import Later, Refusal
from tests.support.ports import free_port


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def meaning(status: int) -> str:
    try:
        check(answer(status, b"what is wrong"), "h")
    except (Later, Refusal) as problem:
        return type(problem).__name__ if f"h answers {status}" in str(problem) else str(problem)
    return "taken"


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        ([200, 201, 202, 204], "taken"),
        ([301, 308, 401, 402, 403, 404, 405, 408, 429, 500, 502, 503, 599], "Later"),
        ([400, 409, 410, 413, 415, 422], "Refusal"),
    ],
)
def test_what_a_status_means(statuses: list[int], wanted: str) -> None:
    assert {meaning(status) for status in statuses} == {wanted}


def test_what_is_said_is_a_line_and_bounded() -> None:
    with pytest.raises(Refusal, match=r"h answers 400: what .is") as refusal:
        check(answer(400, b"what\n\x1bis " + b"wrong " * 1000), "h")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("12", 12), ("999999", 3600), ("soon", None), ("-1", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("", None)],
)
def test_retry_after_is_bounded(value: str, seconds: float | None) -> None:
    with pytest.raises(Later) as later:
        check(answer(503, retry_after=value), "h")
    assert later.value.after_s == seconds


def test_what_cannot_be_reached_says_no_address() -> None:
    url = f"http://127.0.0.1:{free_port()}/path?token=of-a-secret"
    with pytest.raises(Later) as later:
        Poster(url, {}).post(url, b"", {})
    assert "of-a-secret" not in str(later.value)
    assert "127.0.0.1 cannot be reached" in str(later.value)


@pytest.mark.parametrize(
    ("proxy", "address", "credentials"),
    [
        ("http://proxy.test:3128", ("http", "proxy.test", 3128), None),
        ("proxy.test:3128", ("http", "proxy.test", 3128), None),
        ("http://ida:se%40cret@[::1]:3128/", ("http", "[::1]", 3128), "Basic aWRhOnNlQGNyZXQ="),
        ("socks5://proxy.test", ("http", "proxy.test", 80), None),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_that_of_the_calls(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, address: tuple[str, str, int], credentials: str | None
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy)
    pool = Poster("https://sink.test/", {"authorization": "Bearer of-the-sink"})._pool
    assert pool.proxy is not None
    assert (pool.proxy.scheme, pool.proxy.host, pool.proxy.port) == address
    assert isinstance(pool, ProxyManager)
    assert pool.proxy_headers.get("proxy-authorization") == credentials
