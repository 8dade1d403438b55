"""Stands between a client and PostgreSQL, and cuts the connection where a COMMIT is on its way: before it, or before its answer."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_COMMIT = b"COMMIT\x00"


class Cutter:
    """A unix socket as PostgreSQL's in `folder`, and behind it the real one. Use as a context.

    cuts: the share of COMMITs that are cut, half of them before the server has them, half before its answer is passed on.
    """

    def __init__(self, folder: Path, server: Path, *, cuts: float, seed: int = 1) -> None:
        self.lost_commits = 0
        self.lost_answers = 0
        self._server = server
        self._cuts = cuts
        self._chance = random.Random(seed)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._closing = False

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _run(self, work: object, *given: object) -> None:
        thread = threading.Thread(target=work, args=given)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._pass, client)

    def _pass(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        self._open |= {client, server}
        with client, server, contextlib.suppress(OSError), selectors.DefaultSelector() as ready:
            server.connect(str(self._server))
            ready.register(client, selectors.EVENT_READ)
            ready.register(server, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
                    if not data or (key.fileobj is client and self._is_cut(data, server)):
                        return
                    (server if key.fileobj is client else client).sendall(data)
        self._open -= {client, server}

    def _is_cut(self, data: bytes, server: socket.socket) -> bool:
        """Whether the client loses its connection now."""
        if _COMMIT not in data or self._chance.random() >= self._cuts:
            return False
        if self._chance.random() < 0.5:
            self.lost_commits += 1
            return True
        server.sendall(data)
        server.recv(1 << 20)  # it is done, and nobody hears of it
        self.lost_answers += 1
        return True
