"""What comes late: headers behind the body, and bodies of a key that is none any more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from proxy.dataplane.application import Application
from tests.attack.doors import calling, door
from tests.flow.house import CHAT, KEY, Asking, Build, Line, Told


async def _told(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the headers that the application sees once it has the whole body."""
    while (await receive()).get("more_body"):
        pass
    body = b"|".join(b"%s=%s" % header for header in scope["headers"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    "name", [b"authorization", b"x-taximeter-customer", b"x-session-id", b"host", b"content-encoding"]
)
@pytest.mark.parametrize("apart", [False, True])
async def test_a_trailer_is_no_header(name: bytes, *, apart: bool) -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    rest = b"1\r\na\r\n0\r\n%s: evil\r\n\r\n" % name
    async with door(_told) as place, calling(place) as caller:
        for _ in range(2):  # and the next request on the connection has its own headers again
            for piece in (head, rest) if apart else (head + rest,):
                await caller.send(piece)
            assert (await caller.answer()).endswith(b"\r\n\r\nhost=x|transfer-encoding=chunked")


@pytest.mark.parametrize("ends", ["revoked", "expired"])
async def test_a_key_must_still_be_one_when_the_body_is_there(build: Build, ends: str) -> None:
    house = build()
    plane = house.plane
    identity = plane.keys.identify({b"authorization": f"Bearer {KEY}".encode()}, 0)

    class Late(Asking):
        async def receive(self) -> dict[str, Any]:
            late = [] if ends == "revoked" else [replace(identity, expires_at=1.0)]
            plane.keys.replace_configured_keys(late)
            return await super().receive()

    named = {b"authorization": f"Bearer {KEY}".encode()}
    asking = Late(Line(), "/v1/chat/completions", b"", named, orjson.dumps(CHAT))
    await Application(plane).serve(cast(Any, asking))
    assert Told(asking.messages).status == 401
    assert house.sent == []
    assert house.records() == []
