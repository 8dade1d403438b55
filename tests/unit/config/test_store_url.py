"""What the address of a store may look like."""

from __future__ import annotations

import pytest

from proxy.config.store_url import Sentinels, Tls, parse_address
from tests.support.rows import each_row


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("redis://host", ("host", 6379, None, 0, None, None, None, None)),
        ("redis://:pw%40@host:1/2", ("host", 1, None, 2, None, "pw@", None, None)),
        ("rediss://user:pw@[::1]:6380", ("::1", 6380, None, 0, "user", "pw", Tls(), None)),
        ("unix:///run/redis.sock?db=3", ("", 0, "/run/redis.sock", 3, None, None, None, None)),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k%20.pem",
            ("h", 6379, None, 0, None, None, Tls("/ca.pem", "/c.pem", "/k .pem"), None),
        ),
        (
            "redis+sentinel://u:p@one,[::1]:5,two:26380/my%2Fmaster/4?sentinel_password=s%26",
            (
                "",
                0,
                None,
                4,
                "u",
                "p",
                None,
                Sentinels((("one", 26379), ("::1", 5), ("two", 26380)), "my/master", None, "s&"),
            ),
        ),
        (
            "rediss+sentinel://one/m?ssl_ca_certs=/ca.pem&sentinel_username=w",
            ("", 0, None, 0, None, None, Tls("/ca.pem"), Sentinels((("one", 26379),), "m", "w", None)),
        ),
    ],
)
def test_addresses(url: str, parts: tuple[object, ...]) -> None:
    assert tuple(parse_address(url)) == parts


@each_row(
    "url",
    [
        "redis://", "http://host", "redis://host/x", "redis://host:port", "unix://", "redis://h?x=1", "redis://h/-1",
        "redis://h?ssl_ca_certs=/ca", "rediss://h?ssl_keyfile=/k", "rediss://h?ssl_cert_reqs=none", "redis://h/0#x",
        "redis://h?db=1", "redis+cluster://h", "redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel:///m",
        "redis+sentinel://h,/m", "redis+sentinel://u:p@h,u:p@h/m", "redis+sentinel://h:x/m", "redis+sentinel://h/m/x",
        "redis+sentinel://h/m?ssl_ca_certs=/ca", "redis+sentinel://h/m?sentinel_password=a&sentinel_password=b",
        "redis://who:hush-hush#x@h", "redis://who:hush-hush/x@h", "redis://[who:hush-hush@h", "redis://who:hush-hush@x@h",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_address(url.replace("://", "://who:hush-hush@", 1) if "@" not in url else url)
    assert "hush-hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("redis://me:hush@there:6380/1", "there:6380"),
        ("unix:///run/redis.sock", "/run/redis.sock"),
        ("redis+sentinel://me:hush@one:26379,two/mymaster/0", "mymaster, as its Sentinels say"),
    ],
)
def test_a_person_is_told_where_it_is_and_no_secret(url: str, where: str) -> None:
    assert parse_address(url).where == where
