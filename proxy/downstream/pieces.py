"""A request's body as it comes, piece by piece: a generator that waits, which mypyc cannot take, so in a file of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from proxy.downstream.cycle import Asked
from proxy.errors import too_large, unsupported_encoding


class HungUp(Exception):  # noqa: N818 - what the client did
    """The client left before its request was complete; there is nobody to answer."""


async def pieces(cycle: Asked, headers: Mapping[bytes, bytes], limit: int) -> AsyncIterator[bytes]:
    """Never whole in memory. Raises `Refused` beyond `limit` bytes, or `HungUp`."""
    if headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
        raise unsupported_encoding()
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and int(stated) > limit:
        raise too_large(limit)
    total, more = 0, True
    while more:
        message = await cycle.receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        chunk: bytes = message.get("body", b"")
        total += len(chunk)
        if total > limit:
            raise too_large(limit)
        more = message.get("more_body", False)
        yield chunk
