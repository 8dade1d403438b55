"""A compressed response, read plain: the same `read` as `upstream.Response`, so that a meter can look on."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.upstream.response import Response, UpstreamError
from proxy.wire.inflate import InflateError, Inflater, can_inflate


class Inflated:
    """The body of `response` without its content-encoding."""

    def __init__(self, response: Response, encoding: bytes) -> None:
        self._response = response
        self._inflater = Inflater(encoding)
        self._pieces: Iterator[bytes] = iter(())

    def read_now(self) -> bytes | None:
        """Nothing without waiting: it is inflated by `read`."""
        return None

    async def read(self) -> bytes:
        """The next plain bytes; b"" at the end. Raises `UpstreamError` where the body is damaged or ends too early."""
        while True:
            try:
                piece = next(self._pieces, b"")
            except InflateError as error:
                self._response.abort()
                raise UpstreamError("protocol", str(error), sent=True) from None
            if piece:
                return piece
            data = await self._response.read()
            if not data:
                if not self._inflater.complete:
                    raise UpstreamError("protocol", "the upstream's compressed body ends too early", sent=True)
                return b""
            self._pieces = self._inflater.feed(data)


def plain(response: Response) -> Response | Inflated:
    """The response, or it without a content-encoding that we can take off."""
    stated = response.header(b"content-encoding")
    if not stated or not can_inflate(encoding := stated.strip().lower()):
        return response
    response.take_off(b"content-encoding")
    if response.status in (204, 304) or response.header(b"content-length") == b"0":
        return response  # an empty body, which some servers call compressed nevertheless
    return Inflated(response, encoding)
