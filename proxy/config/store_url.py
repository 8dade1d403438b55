"""Where a shared budget store is: the setting `store`, taken apart. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit


class Address(NamedTuple):
    """Where a Redis is: `path` for a unix socket, else host and port."""

    host: str
    port: int
    path: str | None
    database: int
    user: str | None
    password: str | None
    tls: bool


def parse_address(url: str) -> Address:
    """`redis://[[user]:password@]host[:port][/database]`, `rediss://…` (TLS), `unix://[…@]/path[?db=0]`. Raises ValueError."""
    parts = urlsplit(url)
    user, password = parts.username, parts.password
    credentials = (unquote(user) if user else None, unquote(password) if password else None)
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("a unix socket needs a path")
        database = int(parse_qs(parts.query).get("db", ["0"])[0])
        return Address("", 0, unquote(parts.path), database, *credentials, False)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be redis://[user:password@]host[:port][/database]")
    database = int(parts.path.strip("/") or 0)
    return Address(parts.hostname, parts.port or 6379, None, database, *credentials, parts.scheme == "rediss")
