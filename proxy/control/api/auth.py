"""Who may ask the control plane: the admin key, for `/metrics` also its token, and on loopback, without a key, this machine.

A dependency of every router, decided on headers alone. Without a key, requests that a web page could have made the browser
send (another `Origin`, or a `Host` that is no name of this machine: DNS rebinding) are turned away. Nothing of FastAPI is
imported here: the front door asks, too.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request

from proxy.config.server import Server

# host[:port] and nothing else: what a lenient parser makes of more differs from parser to parser.
_HOST = re.compile(r"(?:\[(?P<ip>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9.-]{1,253}))(?::[0-9]{1,5})?\Z")


class Guard:
    """`server` gives the configuration in force, which a reload may have changed."""

    def __init__(self, server: Callable[[], Server]) -> None:
        self._server = server

    def admin(self, request: Request) -> None:
        """Raises 401 without the admin key, 403 for a foreign page where none is needed. To look, the viewer's key will do."""
        server = self._server()
        looks = request.method in ("GET", "HEAD")
        self._check(request, (server.admin_key, server.viewer_key if looks else None))

    def metrics(self, request: Request) -> None:
        """The admin key, or the token that is good for /metrics alone."""
        server = self._server()
        self._check(request, (server.admin_key, server.metrics_token))

    def _check(self, request: Request, secrets: tuple[str | None, ...]) -> None:
        if self._server().admin_key is None:
            if not _from_this_machine(request):
                raise HTTPException(403, "Without server.admin_key only this machine may ask.")
            return
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        token = sent.strip().encode() if scheme.lower() == "bearer" else b""
        matches = [hmac.compare_digest(token, secret.encode()) for secret in secrets if secret]
        if not any(matches):
            raise HTTPException(401, "Send the admin key as `Authorization: Bearer …`.", {"www-authenticate": "Bearer"})


async def admin(request: Request) -> None:
    """The dependency of all but `/metrics`, `/healthz` and `/readyz`."""
    guard: Guard = request.app.state.guard
    guard.admin(request)


async def scraper(request: Request) -> None:
    """The dependency of `/metrics`."""
    guard: Guard = request.app.state.guard
    guard.metrics(request)


def _from_this_machine(request: Request) -> bool:
    """Whether it was sent to this machine by name, and by no page of another origin. Never raises, whatever was sent."""
    host = request.headers.get("host", "")
    match = _HOST.match(host)
    if match is None or not _is_local(match["name"] or match["ip"]):
        return False
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return False  # a browser's word on who asks: another site, or another port of this machine
    return request.headers.get("origin", f"http://{host}") in (f"http://{host}", f"https://{host}")


def _is_local(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
