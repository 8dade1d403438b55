"""The upstream client against servers that behave, and servers that do not."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.upstream import connection as upstream
from proxy.upstream import response as responses
from proxy.upstream.connect import Origin, origin_of
from proxy.upstream.pool import UpstreamClient, encode_head
from proxy.upstream.response import UpstreamError
from tests.support.redis_run import Certificates


class Server:
    """A server that reads one request and then does what the test says; counts its connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.script: list[bytes | str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                for step in self.script:
                    if step == "close":
                        writer.close()
                        return
                    if step == "hang":
                        await reader.read()
                        return
                    if isinstance(step, bytes):
                        writer.write(step)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Origin]]:
    script = Server()
    listening = await asyncio.start_server(script.handle, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield script, origin_of(f"http://127.0.0.1:{port}/v1", {})
    listening.close()


@pytest.fixture
async def client(server: tuple[Server, Origin]) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient()
    made.add("up", server[1], first_byte_timeout_s=0.3, idle_timeout_s=0.3, connect_timeout_s=1, max_connections=2)
    yield made
    made.close()


async def fetch(client: UpstreamClient, origin: Origin) -> tuple[int, bytes]:
    head = encode_head(b"POST", origin.target("/chat").encode(), b"host: x\r\n", {}, 2)
    response = await client.send("up", head, b"{}")
    body = b""
    while data := await response.read():
        body += data
    return response.status, body


async def test_reuses_a_connection_that_is_kept_alive(server: tuple[Server, Origin], client: UpstreamClient) -> None:
    server[0].script = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
    for _ in range(3):
        assert await fetch(client, server[1]) == (200, b"ok")
    assert server[0].connections == 1
    assert server[0].requests[0].startswith(b"POST /v1/chat HTTP/1.1\r\nhost: x\r\n")


async def test_chunks_pass_as_they_come_and_split_anywhere(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    server[0].script = [
        b"HTTP/1.1 200 OK\r\ntransfer-enc",
        b"oding: chunked\r\n\r\n3\r\nab",
        b"c\r\n2\r\nde\r\n0\r\n",
        b"\r\n",
    ]
    assert await fetch(client, server[1]) == (200, b"abcde")


async def test_a_body_without_a_length_ends_with_the_connection(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    server[0].script = [b"HTTP/1.1 200 OK\r\n\r\nall of it", "close"]
    assert await fetch(client, server[1]) == (200, b"all of it")


async def test_informational_responses_are_passed_over(server: tuple[Server, Origin], client: UpstreamClient) -> None:
    server[0].script = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"
    ]
    assert await fetch(client, server[1]) == (200, b"x")


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "close"], "reset"),
        (["close"], "reset"),
        (["hang"], "first_byte_timeout"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "hang"], "idle_timeout"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n", "hang"], "protocol"),
        ([b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "hang"], "protocol"),
        ([b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000, "hang"], "protocol"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" * 50, "hang"], "protocol"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "hang"], "protocol"),
    ],
)
async def test_every_failure_after_sending_says_that_it_was_sent(
    server: tuple[Server, Origin], client: UpstreamClient, script: list[bytes | str], kind: str
) -> None:
    server[0].script = script
    with pytest.raises(UpstreamError) as failure:
        await fetch(client, server[1])
    assert (failure.value.kind, failure.value.sent) == (kind, True)


async def test_a_refused_connection_was_never_sent(client: UpstreamClient) -> None:
    client.add("up", Origin("127.0.0.1", 1, tls=False))
    with pytest.raises(UpstreamError) as failure:
        await fetch(client, Origin("127.0.0.1", 1, tls=False))
    assert (failure.value.kind, failure.value.sent) == ("connect", False)


async def test_bytes_after_the_response_end_the_connection(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    """A server that answers one request twice cannot be trusted with the next one."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    server[0].script = [answer + answer]
    with pytest.raises(UpstreamError):
        await fetch(client, server[1])
    server[0].script = [answer]
    assert await fetch(client, server[1]) == (200, b"ok")
    assert server[0].connections == 2


async def test_at_most_max_connections_and_the_rest_wait_in_turn(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    server[0].script = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
    answers = await asyncio.gather(*[fetch(client, server[1]) for _ in range(20)])
    assert answers == [(200, b"ok")] * 20
    assert server[0].connections <= 2


async def test_a_cancelled_call_leaves_no_connection_behind(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    server[0].script = ["hang"]
    calls = [asyncio.create_task(fetch(client, server[1])) for _ in range(2)]
    while len(server[0].requests) < 2:
        await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    server[0].script = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]
    assert await fetch(client, server[1]) == (200, b"ok")


def test_the_environments_proxy_is_used_except_where_it_says_not_to() -> None:
    environ = {"HTTPS_PROXY": "http://u:p%40@proxy:3128", "NO_PROXY": "internal.example"}
    through = origin_of("https://api.openai.com/v1", environ)
    assert through.proxy is not None
    assert (through.proxy.host, through.proxy.port) == ("proxy", 3128)
    assert through.proxy.authorization == "Basic dTpwQA=="
    assert origin_of("https://x.internal.example", environ).proxy is None
    assert origin_of("http://127.0.0.1:8000", {"HTTP_PROXY": "http://proxy"}).proxy is None


async def test_an_answer_that_was_broken_off_is_never_taken_for_whole(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    """Without a length the end of the connection is the end of the body, but not where we are the ones who end it."""
    server[0].script = [b"HTTP/1.1 200 OK\r\n\r\npart", "hang"]
    response = await client.send("up", encode_head(b"POST", b"/v1/chat", b"host: x\r\n", {}, 2), b"{}")
    assert await response.read() == b"part"
    response.abort()
    with pytest.raises(UpstreamError, match="broken off"):
        await response.read()


async def test_a_hang_up_is_noticed_and_what_was_sent_before_still_comes(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    server[0].script = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n", "hang"]
    response = await client.send("up", encode_head(b"POST", b"/v1/chat", b"host: x\r\n", {}, 2), b"{}")
    response.hang_up()
    assert await response.read() == b"some"
    with pytest.raises(UpstreamError, match="closed the connection"):  # by the server, which saw that we left
        await response.read()


async def test_a_server_that_does_not_mind_a_hang_up_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_HANG_UP_S", 0.05)

    async def talks_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            writer.close()
            cut_off.set()

    cut_off = asyncio.Event()
    listening = await asyncio.start_server(talks_on, "127.0.0.1", 0)
    client = UpstreamClient()
    client.add("up", origin_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", {}))
    response = await client.send("up", encode_head(b"POST", b"/", b"host: x\r\n", {}, 2), b"{}")
    response.hang_up()
    async with asyncio.timeout(5):
        await cut_off.wait()
    assert await response.read()  # what had come by then
    with pytest.raises(UpstreamError, match="broken off"):
        await response.read()
    listening.close()


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("framed", [_whole, _chunked])
async def test_an_answer_that_its_reader_was_slow_to_take_leaves_a_connection_that_is_read(
    server: tuple[Server, Origin], client: UpstreamClient, monkeypatch: pytest.MonkeyPatch, framed: Callable[..., bytes]
) -> None:
    """The last piece of an answer may be what pauses the reading: the next caller's answer must come all the same."""
    monkeypatch.setattr(responses, "_HIGH_WATER", 1000)
    for body in (b"x" * 5000, b"ok", b"y" * 1001, b"n", b"z" * 50_000, b"ok"):
        server[0].script = [framed(body)]
        assert await fetch(client, server[1]) == (200, body)
    assert server[0].connections == 1


async def test_a_connection_that_was_hung_up_on_is_not_used_again(
    server: tuple[Server, Origin], client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream finished its answer all the same, and keeps the connection: but nothing can be written to it."""
    finished, may_close = asyncio.Event(), asyncio.Event()

    async def finishes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.read()
        writer.write(b"1\r\nb\r\n0\r\n\r\n")
        finished.set()
        await may_close.wait()
        writer.close()

    listening = await asyncio.start_server(finishes, "127.0.0.1", 0)
    origin = origin_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", {})
    client.add("up", origin)
    response = await client.send("up", encode_head(b"POST", b"/", b"host: x\r\n", {}, 2), b"{}")
    response.hang_up()
    await finished.wait()
    while await response.read():
        pass
    client._pools["up"].origin = server[1]
    server[0].script = [_whole(b"ok")]
    assert await fetch(client, server[1]) == (200, b"ok")
    may_close.set()
    listening.close()


async def test_a_connection_that_closes_as_it_is_handed_over_is_not_used(
    server: tuple[Server, Origin], client: UpstreamClient
) -> None:
    pool = client._pools["up"]
    first, second = await pool.acquire("k"), await pool.acquire("k")
    waiting = asyncio.create_task(pool.acquire("k"))
    while not pool.turns.waiting:
        await asyncio.sleep(0)
    pool.release(first)
    first.close()
    third = await waiting
    assert third.usable
    second.close()
    third.close()


@pytest.mark.needs("openssl")
async def test_authorities_that_are_renewed_on_the_disk_are_trusted_by_a_process_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the start were kept for ever: once a host inside had its certificate from a new one, all calls to it failed."""
    trusted = tmp_path / "trusted.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    for year, name in enumerate(("before", "after"), 1):
        (tmp_path / name).mkdir()
        made = Certificates(tmp_path / name)
        trusted.write_bytes(made.authority.read_bytes())
        os.utime(trusted, (year, year))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(made.server, made.key(made.server))
        listening = await asyncio.start_server(answers, "127.0.0.1", 0, ssl=context)
        client, origin = UpstreamClient(), Origin("127.0.0.1", listening.sockets[0].getsockname()[1], tls=True)
        client.add("up", origin)
        assert await fetch(client, origin) == (200, b"ok"), name
        client.close()
        listening.close()
