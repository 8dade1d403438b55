"""Where a shared budget store is: the setting `store`, taken apart. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_PORT, _SENTINEL_PORT = 6379, 26379
_SENTINELS = ("redis+sentinel", "rediss+sentinel")
_LIST = re.compile(r"rediss?\+sentinel://(?:[^/?#]*@)?([^/?#]*)", re.IGNORECASE)
_OF_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OF_SENTINELS = ("sentinel_username", "sentinel_password")
_ESCAPED = "in a password, write every character but letters and digits as %XX"
FORMS = (
    "redis://[user:password@]host[:port][/database], rediss://… for TLS, unix:///path[?db=0], or "
    "redis+sentinel://[user:password@]host[:port],host[:port]…/service[/database]"
)


class Tls(NamedTuple):
    """Files: whom to trust (None: whom the system trusts), and what to show; named as redis-py names them."""

    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None


class Sentinels(NamedTuple):
    """Who says where the server is that takes writes: host and port each, and its name there."""

    places: tuple[tuple[str, int], ...]
    service: str
    user: str | None = None
    password: str | None = None


class Address(NamedTuple):
    """Where a Redis is: `path` for a unix socket, `sentinels` where those say it, else host and port."""

    host: str
    port: int
    path: str | None
    database: int
    user: str | None
    password: str | None
    tls: Tls | None
    sentinels: Sentinels | None = None

    @property
    def where(self) -> str:
        """For a person's eyes: no user and no password."""
        if self.sentinels is not None:
            return f"{self.sentinels.service}, as its Sentinels say"
        return self.path or f"{self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """The address in one of `FORMS`. Raises ValueError, whose text says what is wrong and repeats no secret."""
    # The library takes a list of hosts for one, and refuses it where an IPv6 address is not the first of them.
    hosts = _LIST.match(url)
    parts = _split(url if hosts is None else url[: hosts.start(1)] + url[hosts.end(1) :])
    scheme = parts.scheme
    if scheme not in ("redis", "rediss", "unix", *_SENTINELS):
        raise ValueError(f"must be memory or {FORMS}")
    tls = scheme.startswith("rediss")
    option_names = (*(_OF_TLS if tls else ()), *(_OF_SENTINELS if scheme in _SENTINELS else ()))
    options = _options(parts, ("db",) if scheme == "unix" else option_names)
    user, password = _credentials(parts)
    files = Tls(*(options.get(name) for name in _OF_TLS)) if tls else None
    if files and files.keyfile and not files.certfile:
        raise ValueError("ssl_keyfile is of no use without ssl_certfile")
    if scheme == "unix":
        if not parts.path:
            raise ValueError("a unix socket needs a path")
        if parts.hostname:
            raise ValueError("of a unix socket, has three slashes: unix:///run/redis.sock")
        return Address("", 0, unquote(parts.path), _database(options.get("db", "0")), user, password, None)
    if scheme in _SENTINELS:
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("a Sentinel address needs the service's name: redis+sentinel://host:26379/mymaster")
        places = _places(hosts[1] if hosts else "")
        sentinels = Sentinels(places, unquote(service), options.get(_OF_SENTINELS[0]), options.get(_OF_SENTINELS[1]))
        return Address("", 0, None, _database(database or "0"), user, password, files, sentinels)
    if not parts.hostname:
        advice = "an IPv6 address stands in brackets" if parts.netloc else FORMS
        raise ValueError(f"has no host: {advice}")
    if "," in parts.netloc.rpartition("@")[2]:
        raise ValueError("names several hosts; those of Sentinels begin with redis+sentinel://, a Cluster is not used")
    return Address(
        parts.hostname, _port(parts, _PORT), None, _database(parts.path.strip("/") or "0"), user, password, files
    )


def _split(url: str) -> SplitResult:
    """What the library says of an odd address may repeat a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    # Behind an unescaped / or # of a password stands the rest of it, with its @.
    if parts is None or parts.netloc.count("@") > 1 or "@" in parts.path + parts.query + parts.fragment:
        raise ValueError(f"cannot be read: {_ESCAPED}")
    return parts


def _port(parts: SplitResult, default: int) -> int:
    try:
        return parts.port or default
    except ValueError:
        pass
    raise ValueError(f"its port is not a number up to 65535: {_ESCAPED}")


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    user, password = parts.username, parts.password
    return unquote(user) if user else None, unquote(password) if password else None


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("the database is a number: redis://host:6379/0")
    return int(text)


def _options(parts: SplitResult, option_names: tuple[str, ...]) -> dict[str, str]:
    options = parse_qs(parts.query, keep_blank_values=True)
    if "db" in options and "db" not in option_names:
        raise ValueError("the database stands behind the host: redis://host:6379/0")
    if parts.fragment or any(name not in option_names or len(values) > 1 for name, values in options.items()):
        raise ValueError(f"has options that are not known here (known are: {', '.join(option_names) or 'none'})")
    return {name: values[0] for name, values in options.items()}


def _places(hosts: str) -> tuple[tuple[str, int], ...]:
    places = []
    for text in hosts.split(","):
        place = _split(f"//{text}")
        if not place.hostname:
            raise ValueError("Sentinels are hosts with commas between them: host:26379,host:26379")
        places.append((place.hostname, _port(place, _SENTINEL_PORT)))
    return tuple(places)
