"""The fault proxy does to a connection what it says, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from .tcp_proxy import TcpProxy


class Echo(socketserver.BaseRequestHandler):
    """Answers each piece with the same in capitals."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65_536):
                self.server.asked.append(data)  # type: ignore[attr-defined]  # ours
                self.request.sendall(data.upper())


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Echo)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: Server) -> Iterator[TcpProxy]:
    with TcpProxy(("127.0.0.1", server.server_address[1])) as made:
        yield made


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def ask(sock: socket.socket, data: bytes = b"hello") -> bytes:
    sock.sendall(data)
    return sock.recv(65_536)


def read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(100):
        pass


def test_without_faults_it_is_not_there(proxy: TcpProxy) -> None:
    with connect(proxy) as sock:
        assert [ask(sock), ask(sock, b"again")] == [b"HELLO", b"AGAIN"]
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(10) == b""


def test_latency_is_added_both_ways(proxy: TcpProxy) -> None:
    proxy.change(latency_s=0.1)
    with connect(proxy) as sock:
        began = time.monotonic()
        assert ask(sock) == b"HELLO"
        assert 0.2 <= time.monotonic() - began < 2


def test_a_throttle_takes_its_time(proxy: TcpProxy) -> None:
    proxy.change(bytes_per_s=1000)
    with connect(proxy) as sock:
        began = time.monotonic()
        ask(sock, b"x" * 200)
        assert time.monotonic() - began >= 0.2


def test_a_cut_comes_after_so_many_bytes_and_is_a_reset(proxy: TcpProxy) -> None:
    proxy.change(cut_after=7)
    with connect(proxy) as sock:
        assert ask(sock) == b"HELLO"
        sock.sendall(b"again")
        with pytest.raises(ConnectionResetError):
            read_to_the_end(sock)
    assert proxy.seen["cut"] == 1


def test_a_half_close_ends_the_replies_properly(proxy: TcpProxy) -> None:
    proxy.change(half_close_after=3)
    with connect(proxy) as sock:
        assert ask(sock) == b"HELLO"
        with contextlib.suppress(ConnectionResetError):  # the end of the rest may overtake the FIN
            assert sock.recv(10) == b""
    assert proxy.seen["half_closed"] == 1


def test_a_lost_reply_is_one_that_the_server_gave(server: Server, proxy: TcpProxy) -> None:
    proxy.change(lose_replies=1.0)
    with connect(proxy) as sock:
        sock.sendall(b"do it")
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    assert server.asked == [b"do it"]
    assert proxy.seen["lost"] == 1


def test_a_share_of_the_replies_is_lost(proxy: TcpProxy) -> None:
    proxy.change(lose_replies=0.3)
    for _ in range(200):
        with connect(proxy) as sock, contextlib.suppress(ConnectionResetError):
            ask(sock)
    assert 30 <= proxy.seen["lost"] <= 90


def test_a_black_hole_is_silent_until_it_ends(server: Server, proxy: TcpProxy) -> None:
    proxy.change(blackhole=True)
    with connect(proxy) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ask(sock)
        assert server.asked == []
        proxy.change()
        sock.settimeout(5)
        assert sock.recv(10) == b"HELLO"


def test_refusals_and_resets(proxy: TcpProxy) -> None:
    with connect(proxy) as sock:
        assert ask(sock) == b"HELLO"
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            sock.recv(10)
    proxy.change(refuse=True)
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connect(proxy) as sock:  # at once, or a moment later
        read_to_the_end(sock)
