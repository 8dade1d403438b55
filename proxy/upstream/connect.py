"""How a connection to an upstream is opened: plain or TLS, straight or through the environment's HTTP(S)_PROXY."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

from pricing.values import frozen

_MAX_CONNECT_HEAD_BYTES = 16 * 1024


@frozen
class Proxy:
    """A forward proxy, from `HTTP_PROXY` or `HTTPS_PROXY`; `authorization` is a whole header value or None."""

    host: str
    port: int
    authorization: str | None = None


@frozen
class Origin:
    """Where an upstream lives, by configuration alone. `path` is the base path without a slash at its end; `socket` a unix
    socket in place of host and port; `context` whom TLS trusts, in place of the system's list."""

    host: str
    port: int
    tls: bool
    path: str = ""
    proxy: Proxy | None = None
    socket: str = ""
    context: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    def target(self, path: str) -> str:
        """The request target of `path` here: absolute-form where a plain proxy stands between. `/../x` is beside the base."""
        base = self.path
        if path.startswith("/../"):
            base, path = base.rpartition("/")[0], path[3:]
        if self.proxy and not self.tls:
            return f"http://{self.authority}{base}{path}"
        return f"{base}{path}"


def origin_of(base_url: str, environ: Mapping[str, str]) -> Origin:
    """The origin of a checked `base_url`, with the proxy that `environ` names for it."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    proxies = {name[:-6].lower(): url for name, url in environ.items() if name.lower().endswith("_proxy") and url}
    if "REQUEST_METHOD" in environ:  # a CGI's client could set HTTP_PROXY with a `Proxy:` header
        proxies.pop("http", None)
    chosen = proxies.get(parts.scheme) or proxies.get("all")
    through = _proxy(chosen) if chosen and not _bypassed(host, proxies.get("no", "")) else None
    return Origin(host, port, tls, parts.path.rstrip("/"), through)


def _bypassed(host: str, no_proxy: str) -> bool:
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # noqa: PLC0415 - missing in typeshed; most have no proxy

    return bool(proxy_bypass_environment(host, {"no": no_proxy})) or host in ("localhost", "127.0.0.1", "::1")


def _proxy(url: str) -> Proxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    authorization = None
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(parts.hostname or "", parts.port or 80, authorization)


def _tls_context() -> ssl.SSLContext:
    """Whom the system's list of authorities names now: it may be renewed while this process lives."""
    paths = ssl.get_default_verify_paths()  # of those that are there
    return _context_of(tuple(_changed_at(path) for path in (paths.cafile, paths.capath) if path))


@lru_cache(maxsize=1)
def _context_of(_: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _changed_at(path: str) -> int:
    with contextlib.suppress(OSError):
        return Path(path).stat().st_mtime_ns
    return 0


async def open_transport(origin: Origin, factory: Callable[[], asyncio.Protocol]) -> None:
    """Connect `factory`'s protocol to `origin`. Raises OSError (TLS failures are OSErrors too)."""
    loop = asyncio.get_running_loop()
    context = (origin.context or _tls_context()) if origin.tls else None
    proxy = origin.proxy
    if origin.socket:
        await loop.create_unix_connection(factory, origin.socket)
    elif proxy is None:
        await loop.create_connection(
            factory, origin.host, origin.port, ssl=context, server_hostname=origin.host if context else None
        )
    elif context is None:
        await loop.create_connection(factory, proxy.host, proxy.port)
    else:
        transport, tunnel = await loop.create_connection(lambda: _Tunnel(origin, proxy), proxy.host, proxy.port)
        try:
            await tunnel.open
            protocol = factory()
            secure = await loop.start_tls(transport, protocol, context, server_hostname=origin.host)
        except BaseException:
            transport.abort()
            raise
        if secure is None:
            raise ConnectionError("the proxy closed the tunnel")
        protocol.connection_made(secure)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel (CONNECT); `open` is done when it stands."""

    def __init__(self, origin: Origin, proxy: Proxy) -> None:
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        authorization = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        place = f"{origin.host}:{origin.port}"
        self._request = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{authorization}\r\n".encode()
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self.open.done():
            return
        if b"\r\n\r\n" in self._answer:
            status = self._answer.split(b" ", 2)[1:2]
            if status == [b"200"]:
                self.open.set_result(None)
            else:
                self.open.set_exception(
                    ConnectionError(f"the proxy refused the tunnel ({b''.join(status).decode('latin-1')[:3]})")
                )
        elif len(self._answer) > _MAX_CONNECT_HEAD_BYTES:
            self.open.set_exception(ConnectionError("the proxy's answer to CONNECT is too large"))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.open.done():
            self.open.set_exception(ConnectionError("the proxy closed the connection"))
