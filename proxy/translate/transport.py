"""The data plane's HTTP client as httpx's transport: a request takes a fraction of the CPU of httpx's default transport.

httpx keeps what LiteLLM sees of it: requests, answers, exceptions. What goes another way than straight to its host by HTTP/1.1
(a proxy of the environment, HTTP/2, a body in pieces) goes by httpx's own.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import httpcore
import httpx

from proxy.upstream.connect import Origin
from proxy.upstream.pool import UpstreamClient
from proxy.upstream.response import FailureKind, Response, UpstreamError

Send = Callable[[httpx.AsyncHTTPTransport, httpx.Request], Awaitable[httpx.Response]]

_FOR_EVER_S = 86_400.0  # the data plane's time-outs end a call
_CONNECT_S = 60.0
_MOST_CONNECTIONS = 10_000  # `translate.max_calls` is the limit
# What of httpcore's pool says that it goes another way.
OTHERWISE = ("_proxy", "_http2", "_uds", "_local_address")
_LINE_END = re.compile(rb"[\r\n\0]")
_ERRORS: dict[FailureKind, type[httpx.TransportError]] = {
    "connect": httpx.ConnectError,
    "connect_timeout": httpx.ConnectTimeout,
    "first_byte_timeout": httpx.ReadTimeout,
    "idle_timeout": httpx.ReadTimeout,
    "reset": httpx.RemoteProtocolError,
    "protocol": httpx.RemoteProtocolError,
}


class _Clients:
    """The connections of one event loop, by where they lead."""

    def __init__(self) -> None:
        self._client = UpstreamClient()
        self._names: dict[tuple[str, str, int, int], str] = {}
        self._contexts: list[ssl.SSLContext] = []  # kept, so that no other gets the number of one that is gone

    async def send(self, url: httpx.URL, context: ssl.SSLContext, head: bytes, body: bytes) -> Response:
        port = url.port or (443 if url.scheme == "https" else 80)
        key = (url.scheme, url.host, port, id(context))
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = str(len(self._names))
            self._contexts.append(context)
            tls = url.scheme == "https"
            if tls:
                context.set_alpn_protocols(["http/1.1"])
            self._client.add(
                name,
                Origin(url.host, port, tls, context=context if tls else None),
                max_connections=_MOST_CONNECTIONS,
                connect_timeout_s=_CONNECT_S,
                first_byte_timeout_s=_FOR_EVER_S,
                idle_timeout_s=_FOR_EVER_S,
            )
        return await self._client.send(name, head, body)

    def close(self) -> None:
        self._client.close()


_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()


def close() -> None:
    """Close the connections of this event loop that wait for another request."""
    if (clients := _CLIENTS.pop(asyncio.get_running_loop(), None)) is not None:
        clients.close()


def quicker(plain: Send) -> Send:
    """`plain`, a transport's way to send, or our own where it would do the same."""

    async def send(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        pool = self._pool
        if type(pool) is not httpcore.AsyncConnectionPool or "content-length" not in request.headers:
            return await plain(self, request)
        context = pool._ssl_context  # noqa: SLF001 - test_transport.py says if a new version has it no more
        if context is None or any(getattr(pool, name) for name in OTHERWISE):
            return await plain(self, request)
        loop = asyncio.get_running_loop()
        clients = _CLIENTS.get(loop)
        if clients is None:
            clients = _CLIENTS[loop] = _Clients()
        try:
            answer = await clients.send(request.url, context, _head(request), request.content)
        except UpstreamError as error:
            raise _ERRORS[error.kind](str(error), request=request) from error
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    return send


Ask = Callable[..., Awaitable[httpx.Response]]


def leaner(plain: Ask) -> Ask:
    """`plain`, `httpx.AsyncClient.send`, or only what is needed of it: no cookies from one call to another, no redirects (a
    call is one request), no records."""

    async def send(
        self: httpx.AsyncClient, request: httpx.Request, *, stream: bool = False, auth: Any = _DEFAULT, **how: Any
    ) -> httpx.Response:
        if (auth is not None and auth is not _DEFAULT) or self.auth or any(self.event_hooks.values()) or self.is_closed:
            return await plain(self, request, stream=stream, auth=auth, **how)
        if request.url.userinfo or "timeout" not in request.extensions:
            return await plain(self, request, stream=stream, auth=auth, **how)
        response = await self._transport_for_url(request.url).handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response

    return send


Build = Callable[..., httpx.Request]


def quicker_build(plain: Build) -> Build:
    """`plain`, `httpx.AsyncClient.build_request`, or the same from the parts that a request of LiteLLM's has."""

    def build(self: httpx.AsyncClient, method: str, url: Any, **parts: Any) -> httpx.Request:
        named = {name for name, part in parts.items() if part is not None}
        headers, timeout = parts.get("headers"), parts.get("timeout", _DEFAULT)
        if (
            method != "POST" or not isinstance(url, str) or not url.startswith("http") or not named <= _PARTS
            or not isinstance(headers, dict) or self.cookies or self.params
        ):  # fmt: skip
            return plain(self, method, url, **parts)
        return httpx.Request(
            method,
            _url(url),
            headers=_own(self) | {name.lower(): value for name, value in headers.items()},
            content=parts.get("content"),
            json=parts.get("json"),
            extensions={"timeout": httpx.Timeout(self.timeout if timeout is _DEFAULT else timeout).as_dict()},
        )

    return build


@lru_cache(1024)
def _url(url: str) -> httpx.URL:
    return httpx.URL(url)


_DEFAULT = httpx.USE_CLIENT_DEFAULT
_PARTS = frozenset({"headers", "timeout", "content", "json"})
_OWN: WeakKeyDictionary[httpx.AsyncClient, dict[str, str]] = WeakKeyDictionary()


def _own(client: httpx.AsyncClient) -> dict[str, str]:
    """The headers that a client has for every request."""
    if (own := _OWN.get(client)) is None:
        own = _OWN[client] = dict(client.headers)
    return own


def _head(request: httpx.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    for line in lines:
        if _LINE_END.search(line):
            raise httpx.LocalProtocolError("a header has the end of a line in it", request=request)
    return b"\r\n".join(lines) + b"\r\n\r\n"


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: Response, request: httpx.Request) -> None:
        self._answer, self._request = answer, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._answer.read():
                yield data
        except UpstreamError as error:
            raise _ERRORS[error.kind](str(error), request=self._request) from error
        finally:
            self._answer.abort()  # a reader that stops does not always close

    async def aclose(self) -> None:
        """Breaks it off, unless it has come whole."""
        self._answer.abort()
