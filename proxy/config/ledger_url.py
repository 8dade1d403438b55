"""The setting `ledger`, taken apart as people write it: a password may hold what a URL would want encoded. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

_LONG = 6  # characters: no word of an error has so many of a password by chance
_POSTGRES = re.compile(r"postgres(?:ql)?://")
_PLACE = r"(?:\[[^\]]*\]|[^/:?#@,\[\]]*)(?::\d{1,5})?"
_BEHIND_THE_PASSWORD = re.compile(rf"(?P<places>{_PLACE}(?:,{_PLACE})*)(?:/(?P<rest>[^@]*))?\Z")


class PostgresAddress(NamedTuple):
    """`places`: each host with its port, of which the driver takes the first that answers and suits. `query`: what stands
    behind a `?`, as it stands."""

    user: str | None
    password: str | None
    places: tuple[tuple[str, int | None], ...]
    database: str
    query: str


def parse_postgres(url: str) -> PostgresAddress:
    """`postgresql://[user[:password]@]host[:port][,host[:port]…]/database[?options]`. Raises ValueError, which shows nothing
    of it.

    A password may have `@`, `:`, `#` and `/` as they are, or percent-encoded: it goes as far as the last `@` before a host.
    """
    scheme = _POSTGRES.match(url)
    if scheme is None:
        raise ValueError("must be postgresql://user:password@host/database")
    rest = url[scheme.end() :]
    places = [index for index, character in enumerate(rest) if character == "@"]
    readings = [address for at in (*reversed(places), -1) if (address := _read(rest, at)) is not None]
    # With an @ among the options only an earlier one has a database behind it.
    best = next((address for address in readings if address.database), readings[0] if readings else None)
    if best is None:
        raise ValueError("must be postgresql://user:password@host[:port]/database")
    return best


def _read(rest: str, at: int) -> PostgresAddress | None:
    """What is behind the scheme, if the password ends at the @ that is there (-1: there is none)."""
    options_at = rest.find("?", at + 1)
    behind = rest[at + 1 :] if options_at < 0 else rest[at + 1 : options_at]
    fits = _BEHIND_THE_PASSWORD.match(behind)
    if fits is None:
        return None
    places = tuple(_place(text) for text in fits["places"].split(","))
    if not all(port is None or 0 < port < 65_536 for _, port in places):
        return None
    user, colon, password = rest[: max(0, at)].partition(":")
    return PostgresAddress(
        user=unquote(user) or None,
        password=unquote(password) if colon else None,
        places=places,
        database=unquote(fits["rest"] or ""),
        query="" if options_at < 0 else rest[options_at + 1 :],
    )


def without_password(text: str, password: str | None) -> str:
    """What a driver says, with stars for the password. A short one is a part of many words, and is looked for between them."""
    if not password:
        return text
    hidden = re.escape(password)
    if len(password) < _LONG:
        hidden = rf"(?<!\w){hidden}(?!\w)"
    return re.sub(hidden, "***", text)


def _place(text: str) -> tuple[str, int | None]:
    """Of `host:port`, whose host may be an IPv6 address in brackets."""
    at = text.rfind(":", text.rfind("]") + 1)
    host, port = (text, "") if at < 0 else (text[:at], text[at + 1 :])
    return host.strip("[]"), int(port) if port else None
