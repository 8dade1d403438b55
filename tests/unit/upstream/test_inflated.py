"""A compressed answer is read plain; one that has no body is no damaged one."""

from __future__ import annotations

import gzip

import pytest

from proxy.upstream.inflated import plain
from proxy.upstream.response import Response, UpstreamError
from tests.unit.upstream.test_response import Connection


def answered(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Response:
    response = Response(Connection())
    response.status, response.headers = status, [(b"content-encoding", b"gzip"), *headers]
    if body:
        response.received(body)
    response.completed()
    return response


async def read(response: Response) -> bytes:
    body = plain(response)
    assert response.header(b"content-encoding") is None
    pieces: list[bytes] = []
    while piece := await body.read():
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(("status", "headers"), [(204, ()), (200, ((b"content-length", b"0"),))])
async def test_an_answer_without_a_body_may_call_itself_compressed(
    status: int, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert await read(answered(status, b"", *headers)) == b""


async def test_a_body_that_is_missing_or_ends_too_early_is_said() -> None:
    assert await read(answered(200, gzip.compress(b"text"))) == b"text"
    for sent in (b"", gzip.compress(b"text")[:-4]):
        with pytest.raises(UpstreamError, match="too early"):
            await read(answered(200, sent))
