"""Hosts, URLs, paths and numbers as people write them by mistake: what is wrong is named, where, and what to write."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.addresses import wrong_with_host, wrong_with_path, wrong_with_url
from proxy.config.checks import build
from proxy.config.file import Expansion
from proxy.config.problems import ConfigError

UPSTREAM = {"base_url": "http://127.0.0.1:1/v1", "provider": "openai"}


def told(**tree: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        build(Expansion({"upstreams": {"a": UPSTREAM}, "models": {"*": {"upstream": "a"}}} | tree, [], []))
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize("host", ["::1", "::", "127.0.0.1", "0.0.0.0", "localhost", "a-b.example", "fe80::1%eth0"])
def test_a_host_that_can_be_listened_at_is_taken(host: str) -> None:
    assert wrong_with_host(host, "server.port") is None


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("[::1]", 'is written without brackets: "::1"'),
        ("[::1]:4100", 'is written without brackets: "::1"'),
        ("http://127.0.0.1", "is the address alone, without a scheme and a path; TLS ends in front of Taximeter"),
        ("127.0.0.1:4100", 'is the address alone ("127.0.0.1"); its port stands in server.port'),
        ("127.0.0.0/8", 'is one address, not a network: "127.0.0.0"'),
        ("*", 'is no address; all of this machine\'s are "0.0.0.0", with those of IPv6 "::"'),
        ("999.1.1.1", "is not an address: four numbers up to 255 with dots between them"),
        (" localhost", "is not the name of a host, nor an address"),
    ],
)
def test_a_slip_in_a_host_says_what_to_write_and_no_second_thing(host: str, says: str) -> None:
    """An admin key was asked for."""
    assert told(server={"host": host}) == [f"server.host: {says}"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hooks.example/x", "must begin with https:// or http://"),
        ("ftp://hooks.example/x", "must begin with https:// or http://, not ftp://"),
        ("https://", "names no host"),
        ("https://h:99999/x", "cannot be read: a port is a number up to 65535, an IPv6 address stands in brackets"),
        ("http://::1:80/x", "cannot be read: a port is a number up to 65535, an IPv6 address stands in brackets"),
        ("https://h/x ", "has blanks before or behind it"),
        ("https://h/x y", "must be an http(s) URL, in ASCII and without blanks"),
    ],
)
def test_a_slip_in_a_url_says_what_to_write_wherever_one_is_configured(url: str, says: str) -> None:
    assert told(upstreams={"a": UPSTREAM | {"base_url": url}}) == [f"upstreams.a.base_url: {says}"]
    assert told(alerts={"webhook": url}) == [f"alerts.webhook: {says}"]
    assert told(exports=[{"type": "cloudevents", "url": url}]) == [f"exports[0].url: {says}"]
    (line,) = told(capacity=[{"name": "m", "upstreams": ["a"], "usd_per_hour": 1, "metrics_url": url}])
    assert line.startswith(f"capacity[0].metrics_url: {says}; it is a Prometheus exposition's")


def test_a_secret_in_a_url_is_not_repeated() -> None:
    for url in ("https://u:geheim@h/x", "u:geheim@h", "https://u:geheim@h:99999", "https://u:geheim @h"):
        assert "geheim" not in str(wrong_with_url(url)) != "None"


def test_a_webhook_may_have_a_query_and_a_base_url_none() -> None:
    assert wrong_with_url("https://h/x?y=1", with_query=True) is None
    assert wrong_with_url("https://h/x?y=1") == "must end before its ? or #"


@pytest.mark.parametrize("path", ["~/x", "s3://bucket/x", "file:///x", " "])
def test_what_is_no_path_of_this_machine_is_none_wherever_one_is_configured(path: str) -> None:
    """A folder called ~ was made, or one called s3:."""
    what = wrong_with_path(path)
    assert told(data_dir=path) == [f"data_dir: {what}"]
    assert told(exports=[{"type": "file", "path": path}]) == [f"exports[0].path: {what}"]
    assert told(ledger=f"sqlite:///{path}")[0].startswith(f"ledger: {what}: sqlite:///FILE")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("taximeter.db", "of a file, sqlite:///taximeter.db"),
        ("sqlite://taximeter.db", "with three slashes, with four where FILE begins with one"),
        ("postgresql+psycopg://u:geheim@h/db", "without the driver, postgresql://…"),
        ("sqlite:///:memory:", "must be a file: what is in memory would be gone with the process"),
        ("mysql://u:geheim@h/db", "must be sqlite:///FILE or postgresql://user:password@host/database"),
    ],
)
def test_a_slip_in_the_ledgers_address_says_what_to_write(url: str, says: str) -> None:
    (line,) = told(ledger=url)
    assert (line.endswith(says), "geheim" in line) == (True, False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "redis://:p@ss/w@h:6379",
            "cannot be read: in a password, write every character but letters and digits as %XX",
        ),
        (
            "redis://:p#ssw@h:6379/0",
            "cannot be read: in a password, write every character but letters and digits as %XX",
        ),
        ("redis://h?db=0", "the database stands behind the host: redis://host:6379/0"),
        (
            "redis://one:1,two:2/0",
            "names several hosts; those of Sentinels begin with redis+sentinel://, a Cluster is not used",
        ),
        ("redis://::1:6379/0", "has no host: an IPv6 address stands in brackets"),
        ("unix://var/redis.sock", "of a unix socket, has three slashes: unix:///run/redis.sock"),
    ],
)
def test_a_slip_in_the_stores_address_says_what_to_write(url: str, says: str) -> None:
    assert told(store=url) == [f"store: {says}"]


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"server": {"header_timeout_s": "10s"}}, "a number of seconds, and nothing behind it: 10"),
        ({"server": {"max_call_s": "1h"}}, "a number of seconds, and nothing behind it: 3600"),
        ({"store_timeout_s": "250ms"}, "a number of seconds, and nothing behind it: 0.25"),
        ({"server": {"max_body_mb": "32MB"}}, "a number of megabytes, and nothing behind it: 32"),
        ({"spool": {"max_mb": "4GB"}}, "a number of megabytes, and nothing behind it: 4000"),
        ({"ledger_retention_days": "90d"}, "a number of days, and nothing behind it: 90"),
        ({"log": {"sample": "10%"}}, "a share of 1, and nothing behind it: 0.1"),
        ({"store_lease_share": "2 %"}, "a share of 1, and nothing behind it: 0.02"),
        ({"server": {"max_connections": "1e4"}}, "a number in full, and nothing behind it: 10000"),
        ({"server": {"max_connections": "10k"}}, "a number in full, and nothing behind it: 10000"),
        ({"server": {"max_body_mb": 2048}}, "at most 1024 megabytes"),
        ({"server": {"port": 70_000}}, "at most 65535"),
        ({"log": {"sample": 10}}, "at most 1"),
        ({"budgets": [{"name": "a", "limit_usd": 1, "window": "day", "alert_at": 0.8}]}, "a list: write [0.8]"),
    ],
)  # fmt: skip
def test_a_number_with_its_unit_is_written_as_it_should_be(tree: dict[str, Any], says: str) -> None:
    (line,) = told(**tree)
    assert line.rpartition(": must be ")[2] == says or line.endswith(f"must be {says}")


KEY = "sk-admin-0123456789abcdef"


@pytest.mark.parametrize(
    ("server", "base_url"),
    [
        ({}, "http://127.0.0.1:4100/v1"),
        ({}, "http://localhost:4100"),
        ({}, "http://0.0.0.0:4100"),
        ({}, "http://127.0.0.1:4101"),
        ({"host": "localhost"}, "http://127.0.0.1:4100/v1"),
        ({"host": "0.0.0.0", "port": 80, "admin_key": KEY}, "http://127.0.0.1/v1"),
        ({"host": "0.0.0.0", "admin_key": KEY}, "http://127.0.0.2:4100/v1"),
        ({"host": "::", "admin_key": KEY}, "http://[::1]:4100/v1"),
        ({"host": "gateway.example", "admin_key": KEY}, "http://GATEWAY.example:4100/v1"),
    ],
)
@pytest.mark.parametrize("setting", ["base_url", "base_urls.openai"])
def test_an_upstream_that_is_taximeter_itself_is_refused(server: dict[str, Any], base_url: str, setting: str) -> None:
    """Each call would have come back as another, without an end."""
    other = {"base_url": "http://h/v1", "base_urls": {"openai": base_url}}
    row = {"base_url": base_url} if setting == "base_url" else other
    (problem,) = told(server=server, upstreams={"a": row})

    assert problem.startswith(f"upstreams.a.{setting}: is Taximeter itself (server.")


@pytest.mark.parametrize(
    ("server", "base_url"),
    [
        ({}, "http://127.0.0.1:4102/v1"),
        ({}, "http://127.0.0.2:4100/v1"),
        ({}, "http://10.0.0.1:4100/v1"),
        ({}, "http://[::1]:4100/v1"),
        ({"host": "0.0.0.0", "admin_key": KEY}, "http://[::1]:4100/v1"),
        ({"host": "0.0.0.0", "admin_key": KEY}, "http://10.0.0.1:4100/v1"),
        ({"host": "10.0.0.2", "admin_key": KEY}, "http://127.0.0.1:4100/v1"),
        ({"port": 0, "admin_port": 0}, "http://127.0.0.1:4100/v1"),
    ],
)
def test_another_of_the_same_port_is_none_of_it(server: dict[str, Any], base_url: str) -> None:
    tree = {"upstreams": {"a": {"base_url": base_url}}, "models": {"*": {"upstream": "a"}}, "server": server}
    assert build(Expansion(tree, [], []))[0].upstreams["a"].base_url == base_url


@pytest.mark.parametrize(
    ("host", "admin_host", "both"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "localhost", False),
        ("0.0.0.0", "127.0.0.1", False),
        ("10.0.0.1", "0.0.0.0", False),
        ("::", "127.0.0.1", False),
        ("0.0.0.0", "::", False),
        ("127.0.0.1", "10.0.0.1", True),
        ("0.0.0.0", "::1", True),
        ("127.0.0.1", "::1", True),
    ],
)
def test_two_planes_at_one_port_are_refused_where_they_cannot_both_listen(
    host: str, admin_host: str, both: bool
) -> None:
    server = {"host": host, "admin_host": admin_host, "port": 4100, "admin_port": 4100, "admin_key": KEY}
    if both:
        build(Expansion({"upstreams": {"a": UPSTREAM}, "models": {"*": {"upstream": "a"}}, "server": server}, [], []))
    else:
        (problem,) = told(server=server)
        assert problem.startswith("server.admin_port: is server.port too")
