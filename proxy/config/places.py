"""Where Taximeter listens, counts and writes: checks of the addresses and paths that the configuration names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from proxy.config.addresses import is_loopback, wrong_with_host, wrong_with_path
from proxy.config.fields import wrong_with_secret
from proxy.config.ledger_url import parse_postgres
from proxy.config.model import Config
from proxy.config.problems import Problem
from proxy.config.server import Server
from proxy.config.store_url import parse_address

_LEDGER = "must be sqlite:///FILE or postgresql://user:password@host/database"
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not listened at
_OF_SQLALCHEMY = re.compile(r"(postgres(?:ql)?|sqlite)\+[a-z0-9]+://")


def check_server(config: Config) -> list[Problem]:
    """Where the two planes listen, and who may ask the control plane."""
    server = config.server
    hosts = ((name, getattr(server, name)) for name in ("host", "admin_host"))
    wrong = [
        Problem(f"server.{name}", what)
        for name, host in hosts
        if (what := wrong_with_host(host, f"server.{name.replace('host', 'port')}"))
    ]
    wrong += [
        Problem(f"server.{name}", what)
        for name in ("admin_key", "viewer_key", "metrics_token")
        if (secret := getattr(server, name)) and (what := wrong_with_secret(secret))
    ]
    if server.port and server.port == server.admin_port and _is_in_the_way(server.host, server.admin_host):
        why = "is server.port too, and one of the two addresses has the other in it: both cannot listen; give each its own"
        wrong.append(Problem("server.admin_port", why))
    if server.viewer_key and not server.admin_key:
        why = "needs server.admin_key, too: without it everybody on this machine may do everything"
        return [*wrong, Problem("server.viewer_key", why)]
    if server.viewer_key and server.viewer_key == server.admin_key:
        return [*wrong, Problem("server.viewer_key", "is the admin key; give the viewers another")]
    if wrong or server.admin_key or (is_loopback(server.host) and is_loopback(server.admin_host)):
        return wrong
    why = "is required unless host and admin_host are both loopback addresses: others may reach it; write a secret of your own"
    return [Problem("server.admin_key", why)]


def is_itself(url: str, server: Server) -> str | None:
    """Why calls may not go to `url`: it is Taximeter's own, and each would come back as another; None elsewhere."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for setting, host, own in (
        ("port", server.host, server.port),
        ("admin_port", server.admin_host, server.admin_port),
    ):
        if port == own and _answers(host.lower(), parts.hostname or ""):
            return f"is Taximeter itself (server.{setting}); write where the model is served, or take another server.{setting}"
    return None


def _answers(host: str, name: str) -> bool:
    """Whether who listens at `host` is who a client of this machine finds by `name`."""
    if host in _EVERYWHERE or name in _EVERYWHERE:
        return all(is_loopback(place) or place in _EVERYWHERE for place in (host, name)) and (
            ":" not in name or ":" in host
        )
    return host == name or ("localhost" in (host, name) and is_loopback(host) and is_loopback(name))


def _is_in_the_way(host: str, other: str) -> bool:
    """Whether both cannot listen at the same port."""
    if "::" in (host, other) or _answers(host, other):
        return True
    return "0.0.0.0" in (host, other) and ":" not in host + other  # noqa: S104 - compared, not listened at


def check_places(config: Config) -> Iterator[Problem]:
    """The store, the ledger and the folders."""
    if config.store != "memory":
        try:
            parse_address(config.store)
        except ValueError as error:
            yield Problem("store", str(error))
    if what := _wrong_with_ledger(config.ledger):
        yield Problem("ledger", what)
    if what := wrong_with_path(config.data_dir):
        yield Problem("data_dir", what)


def _wrong_with_ledger(url: str) -> str | None:
    if url.startswith("sqlite:///"):
        file = url.removeprefix("sqlite:///").partition("?")[0]
        if file == ":memory:":
            return "must be a file: what is in memory would be gone with the process"
        what = wrong_with_path(file)
        return f"{what}: sqlite:///FILE, sqlite:////FOLDER/FILE" if what else None
    if url.startswith(("postgresql://", "postgres://")):
        try:
            parse_postgres(url)
        except ValueError as error:
            return str(error)
        return None
    if of_sqlalchemy := _OF_SQLALCHEMY.match(url):
        return f"{_LEDGER}; without the driver, {of_sqlalchemy[1]}://…"
    if url.startswith("sqlite:"):
        return f"{_LEDGER}; with three slashes, with four where FILE begins with one"
    return f"{_LEDGER}; of a file, sqlite:///{url}" if url.endswith((".db", ".sqlite", ".sqlite3")) else _LEDGER
