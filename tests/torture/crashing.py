"""`taximeter serve` with named points at which a process can be told to die: `python -m tests.torture.crashing serve …`.

The product knows nothing of it: what it calls at each point is wrapped here, in the fork, before it serves. So a point
costs nothing where it is not wanted, because it is not there. `points.py` says which there are and how they are asked.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from socket import socket
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from proxy.cli import main as cli
from proxy.exchange import attempt
from proxy.exchange import gate as relay
from proxy.ledger.recording import shipping
from proxy.serve import supervisor as app
from proxy.spool import writer as spool
from proxy.spool.pending import Pending
from proxy.upstream import connection as upstream_connection
from proxy.upstream import pool as upstream
from proxy.upstream.outbox import OUTBOX
from proxy.upstream.response import Response

from .points import FOLDER

_SMALL_SEGMENT_BYTES = 48 * 1024  # so that segments end, and are deleted, while calls go on
_passed: Counter[str] = Counter()


def reached(point: str, before: Callable[[], object] | None = None) -> None:
    """Die here if that was asked for, after doing `before`."""
    order = Path(os.environ[FOLDER]) / point
    try:
        whom, passes = order.read_text().split()
    except FileNotFoundError:
        _passed[point] = 0
        return
    _passed[point] += 1
    if _passed[point] <= int(passes):
        return
    if before is not None:
        before()
    order.rename(order.with_suffix(".hit"))
    if whom == "all":
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: Any, name: str, before: str = "", after: str = "") -> None:
    """Wrap a function or coroutine function of `owner` in points."""
    real = getattr(owner, name)

    @wraps(real)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if before:
            reached(before)
        result = real(*args, **kwargs)
        if after:
            reached(after)
        return result

    @wraps(real)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        if before:
            reached(before)
        result = await real(*args, **kwargs)
        if after:
            reached(after)
        return result

    setattr(owner, name, awaited if real.__code__.co_flags & 0x80 else plain)


def _set_up_data() -> None:
    spool._SEGMENT_BYTES = spool._CHECK_SIZE_EVERY_BYTES = _SMALL_SEGMENT_BYTES
    append = spool.SpoolWriter._append

    def appending(writer: spool.SpoolWriter, payloads: Sequence[bytes], max_bytes: float) -> int:
        named = [payload[6 : payload.index(b'"', 6)].decode() for payload in payloads]  # {"t":"intent",…
        kinds = [kind for kind in named if kind in ("intent", "settle")]  # each of several is passed
        framed = b"".join(map(spool.frame, payloads))
        for kind in kinds:
            reached(f"before-{kind}")
            reached(f"torn-{kind}", lambda: os.write(writer._fd, framed[: len(framed) // 2]))
        count = append(writer, payloads, max_bytes)
        for kind in kinds:
            reached(f"after-{kind}")
        return count

    spool.SpoolWriter._append = appending  # type: ignore[method-assign]  # that is the point
    send = upstream_connection.Connection.send

    def sending(
        connection: upstream_connection.Connection, head: bytes, body: bytes, record: Pending | None = None
    ) -> Response:
        reached("before-send")
        response = send(connection, head, body, record)
        reached("after-send", OUTBOX.flush)
        return response

    upstream_connection.Connection.send = sending  # type: ignore[method-assign]  # that is the point
    _around(attempt.Attempt, "reserve", after="after-reserve")
    _around(upstream.UpstreamClient, "send", after="after-head")
    _around(relay.StreamGate, "feed", before="mid-stream")
    _around(attempt.Attempt, "settle", after="after-store")


def _set_up_control() -> None:
    @event.listens_for(Engine, "before_cursor_execute")
    def before_execute(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO entries"):
            reached("before-insert")
            connection.info["inserted"] = True

    @event.listens_for(Engine, "commit")
    def before_commit(connection: Connection) -> None:
        if connection.info.pop("inserted", False):
            reached("before-commit")

    ship = shipping.Shipper.ship

    def shipped(*args: Any) -> Any:
        inserted = ship(*args)
        if inserted:
            reached("after-commit")
        return inserted

    shipping.Shipper.ship = shipped  # type: ignore[method-assign]  # that is the point
    unlink = Path.unlink

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".spool":
            reached("before-delete")
        elif path.suffix == ".lock":
            reached("before-unlock")
        unlink(path, missing_ok)
        if path.suffix == ".spool":
            reached("after-delete")

    Path.unlink = unlinking  # type: ignore[method-assign]  # that is the point


def main() -> None:
    add = app.Supervisor.add

    def adding(supervisor: app.Supervisor, name: str, start: Callable[..., None], listener: socket) -> None:
        def started(orders: Any) -> None:
            (_set_up_control if name == "control" else _set_up_data)()
            start(orders)

        add(supervisor, name, started, listener)

    app.Supervisor.add = adding  # type: ignore[method-assign]  # that is the point
    cli.main()


if __name__ == "__main__":
    main()
