"""What the address of a store may look like."""

from __future__ import annotations

import pytest

from proxy.config.store_url import parse_address


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://host", ("host", 6379, None, 0, None, None, False)),
        ("redis://:pw%40@host:1/2", ("host", 1, None, 2, None, "pw@", False)),
        ("rediss://user:pw@[::1]:6380", ("::1", 6380, None, 0, "user", "pw", True)),
        ("unix:///run/redis.sock?db=3", ("", 0, "/run/redis.sock", 3, None, None, False)),
    ],
)
def test_addresses(url: str, parts: tuple[object, ...]) -> None:
    assert tuple(parse_address(url)) == parts


@pytest.mark.parametrize(
    "url", ["redis://", "http://host", "redis://host/x", "redis://host:port", "unix://", "redis://h?x=1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_address(url)
