"""What uvicorn's ASGI messages would carry, straight from the connection and to it: an answer in one piece and one system call.

uvicorn writes a response's head and body separately and looks at every header with two regular expressions. Here the
same bytes go out at once. Every function says False or None where it does not apply (the client reads slowly, the request
was a HEAD, …): then the ASGI message is sent as ever, and uvicorn knows what to do. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from proxy.upstream.outbox import OUTBOX

Header = tuple[bytes, bytes]


def body(cycle: RequestResponseCycle) -> bytes | None:
    """The request's whole body, where all of it is here; None where it has to be waited for."""
    if cycle.more_body or cycle.disconnected or cycle.response_complete or cycle.waiting_for_100_continue:
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    taken, cycle.body = bytes(cycle.body), bytearray()
    return taken


def respond(cycle: RequestResponseCycle, status: int, headers: Sequence[Header], body: bytes) -> bool:
    """Write a whole response; `headers` are lower-case and hold its content-length."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or status in (204, 304):
        return False
    if cycle.scope["method"] == "HEAD" or not cycle.keep_alive:
        return False
    lines = b"\r\n".join([*map(b": ".join, headers), b""])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers):
        return False  # a header that would become two: uvicorn refuses it
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    OUTBOX.write(cycle.transport, b"".join((STATUS_LINE[status], lines, b"\r\n", body)))
    cycle.message_event.set()
    cycle.on_response()
    return True


def write(cycle: RequestResponseCycle, data: bytes) -> bool:
    """Write a piece of a chunked body that has begun."""
    if not cycle.chunked_encoding or cycle.response_complete or cycle.disconnected or cycle.flow.write_paused:
        return False
    cycle.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
    return True
