"""The HTTP server of the admin port: few connections and small bodies, for people and scrapers."""

from __future__ import annotations

from typing import Any

from proxy.config.server import Server as ServerSettings
from proxy.downstream.connection import Limits, connecting
from proxy.processes.descriptors import connections_at_most
from proxy.processes.http_server import Server

_MAX_CONNECTIONS = 200
_MAX_BODY_BYTES = 1_000_000


def admin_server(app: Any, config: ServerSettings) -> Server:
    """Serves `app` once it is given a socket."""
    return Server(connecting(_limits(config)), app=app, drain_s=2, date_header=True)


def _limits(config: ServerSettings) -> Limits:
    return Limits(
        # A question may open the database and the link's socket; the recorder must never go without.
        max_connections=connections_at_most(_MAX_CONNECTIONS, descriptors_each=3),
        max_head_bytes=config.max_head_kb * 1024,
        header_timeout_s=config.header_timeout_s,
        body_timeout_s=config.body_timeout_s,
        write_timeout_s=config.write_timeout_s,
        max_body_bytes=_MAX_BODY_BYTES,
    )
