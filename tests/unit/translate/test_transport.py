"""Requests of httpx's by the house's own client: what is sent, what comes back, how it fails, and what goes by httpx's own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpcore
import httpx
import pytest

from proxy.translate.transport import OTHERWISE, close, leaner, quicker, quicker_build


class _Server:
    """Answers each connection's request with these bytes; keeps what came, and whether the caller left."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.got = b""
        self.connections = 0
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while data := await reader.read(65536):
            self.got += data
            writer.write(self._answer)
            if not self._answer:
                writer.close()
        self.left.set()
        writer.close()


class _Quick(httpx.AsyncHTTPTransport):
    plain = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async def plainly(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            self.plain += 1
            return await httpx.AsyncHTTPTransport.handle_async_request(transport, request)

        await request.aread()
        return await quicker(plainly)(self, request)


async def _at(answer: bytes) -> AsyncIterator[tuple[_Server, str]]:
    server = _Server(answer)
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listening:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        close()
        await asyncio.wait_for(server.left.wait(), 10)


_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nhi"


async def test_what_is_sent_and_what_comes_back_are_httpx_own() -> None:
    async for server, url in _at(_OK):
        transport = _Quick()
        async with httpx.AsyncClient(transport=transport) as client:
            answers = [await client.post(f"{url}/a%2Fb?c=d", content=b"body", headers={"X-Key": "k"}) for _ in range(2)]

        assert [(answer.status_code, answer.text, answer.headers.get_list("x-a")) for answer in answers] == [
            (200, "hi", ["1", "2"])
        ] * 2
        assert server.got.startswith(b"POST /a%2Fb?c=d HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"X-Key: k\r\n" in server.got
        assert server.got.endswith(b"\r\n\r\nbody")
        assert (transport.plain, server.connections) == (0, 1)  # none by httpx's own way; the connection was used again


async def test_a_stream_that_its_reader_closes_is_broken_off() -> None:
    async for server, url in _at(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"):
        async with httpx.AsyncClient(transport=_Quick()) as client:
            async with client.stream("POST", url, content=b"{}") as answer:
                assert await anext(answer.aiter_bytes()) == b"hello"
            await asyncio.wait_for(server.left.wait(), 10)


async def test_a_stream_that_its_reader_only_stops_reading_is_broken_off() -> None:
    async for server, url in _at(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"):
        async with httpx.AsyncClient(transport=_Quick()) as client:
            answer = await client.send(client.build_request("POST", url, content=b"{}"), stream=True)
            reading = answer.aiter_raw()
            assert await anext(reading) == b"hello"
            await reading.aclose()  # type: ignore[attr-defined]  # a generator, which LiteLLM lets go of
            del reading
            await asyncio.wait_for(server.left.wait(), 10)


async def test_a_call_that_is_cancelled_is_broken_off() -> None:
    async for server, url in _at(b"HTTP/1.1 100 Continue\r\n\r\n"):
        async with httpx.AsyncClient(transport=_Quick()) as client:
            call = asyncio.create_task(client.post(url, content=b"{}"))
            while not server.got:
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.wait_for(server.left.wait(), 10)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_failures_are_httpx_own(answer: bytes, error: type[Exception]) -> None:
    async for _, url in _at(answer):
        async with httpx.AsyncClient(transport=_Quick()) as client:
            with pytest.raises(error):
                await client.post(url, content=b"{}")


async def test_a_host_that_is_not_there_is_a_connect_error() -> None:
    async with httpx.AsyncClient(transport=_Quick()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.post("http://127.0.0.1:1/", content=b"{}")


async def test_a_body_in_pieces_and_another_way_go_by_httpx_own_client() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    async for _, url in _at(_OK):
        for transport, content in ((_Quick(), pieces()), (_Quick(http2=False, local_address="127.0.0.1"), b"{}")):
            async with httpx.AsyncClient(transport=transport) as client:
                assert (await client.post(url, content=content)).text == "hi"
            assert transport.plain == 1


async def test_no_header_ends_its_line() -> None:
    request = httpx.Request("POST", "http://127.0.0.1:1/", content=b"{}", headers=[(b"x-key", b"a\r\nx-b: c")])

    with pytest.raises(httpx.LocalProtocolError):
        await quicker(httpx.AsyncHTTPTransport.handle_async_request)(_Quick(), request)


def test_httpcore_has_what_is_asked_of_it() -> None:
    pool = httpx.AsyncHTTPTransport()._pool

    assert type(pool) is httpcore.AsyncConnectionPool
    assert isinstance(pool._ssl_context, ssl.SSLContext)
    assert [name for name in OTHERWISE if not hasattr(pool, name)] == []


@pytest.mark.parametrize(
    "parts",
    [
        {
            "json": {"a": "é"},
            "headers": {"X-Key": "k", "Accept": "application/json", "content-type": "application/json"},
        },
        {"content": b"{}", "headers": {"Authorization": "Bearer k"}, "timeout": 5.0},
        {"content": "text", "headers": {}, "timeout": httpx.Timeout(3, connect=1)},
        {"json": {}, "headers": {"User-Agent": "other"}, "timeout": None},
        {"data": {"grant_type": "x"}, "headers": {"a": "b"}},
        {"json": {}, "headers": None},
        {"content": b"", "headers": {"a": "b"}, "params": {"q": "1"}},
    ],
)
async def test_a_request_is_built_as_httpx_builds_it(parts: dict[str, Any]) -> None:
    async with httpx.AsyncClient(headers={"x-own": "1"}, timeout=7) as client:
        plain = client.build_request("POST", "https://example.com/a%2Fb?c=d", **parts)
        quick = quicker_build(httpx.AsyncClient.build_request)(client, "POST", "https://example.com/a%2Fb?c=d", **parts)

    assert (quick.method, quick.url, quick.content) == (plain.method, plain.url, plain.content)
    assert sorted(quick.headers.items()) == sorted(plain.headers.items())
    assert quick.extensions == plain.extensions


class _Answers(httpx.AsyncBaseTransport):
    def __init__(self, **answer: Any) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(**self._answer)


async def _never(*_: object, **__: object) -> httpx.Response:
    raise AssertionError("by httpx's own way")


async def test_an_answer_is_read_and_knows_its_request_and_leaves_nothing_behind() -> None:
    headers = {"set-cookie": "a=b", "content-type": "application/json"}
    async with httpx.AsyncClient(transport=_Answers(status_code=200, headers=headers, json={"a": 1})) as client:
        request = client.build_request("POST", "https://example.com/", json={})
        answer = await leaner(_never)(client, request)

        assert (answer.json(), answer.request, answer.is_closed) == ({"a": 1}, request, True)
        assert answer.raise_for_status() is answer
        assert not client.cookies


async def test_a_redirect_is_not_followed() -> None:
    elsewhere = {"location": "https://elsewhere.example/"}
    transport = _Answers(status_code=307, headers=elsewhere)
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        answer = await leaner(_never)(client, client.build_request("POST", "https://example.com/", json={}))

        with pytest.raises(httpx.HTTPStatusError):
            answer.raise_for_status()


async def test_what_needs_more_goes_by_httpx_own() -> None:
    seen = []

    async def plain(*_: object, **how: Any) -> httpx.Response:
        seen.append(how["stream"])
        return httpx.Response(200)

    async with httpx.AsyncClient(auth=("a", "b")) as client:
        await leaner(plain)(client, client.build_request("POST", "https://example.com/"), stream=True)
    async with httpx.AsyncClient() as client:
        await leaner(plain)(client, client.build_request("POST", "https://a:b@example.com/"))
        await leaner(plain)(client, client.build_request("POST", "https://example.com/"), auth=("a", "b"))
        await leaner(plain)(client, httpx.Request("POST", "https://example.com/"))

    assert seen == [True, False, False, False]
