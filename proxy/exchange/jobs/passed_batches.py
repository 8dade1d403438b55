"""A batch whose lines stand in its body, larger than what is held: passed on line by line, each bounded as it passes.

The last bytes wait until all of it is reserved: without them the provider has no request, and makes nothing. So it is in files
(`uploads.py`), but that what is sent here is billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson

from proxy.dialects import fields
from proxy.downstream.client import Client
from proxy.errors import invalid_request, upstream_timeout, upstream_unreachable
from proxy.exchange.answer import answer
from proxy.exchange.attempt import Attempt
from proxy.exchange.attribute import attributed
from proxy.exchange.configured import Configured
from proxy.exchange.exchange import Exchange
from proxy.exchange.forward import abandon
from proxy.exchange.jobs.lines import Lines
from proxy.exchange.jobs.upload_entry import held
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.plan import plan
from proxy.exchange.plane import Plane
from proxy.exchange.reserve import guard, reserve
from proxy.jobs.api import JobEndpoint
from proxy.times import now_s, now_us
from proxy.types import Identity, Route
from proxy.upstream.destinations import Destination
from proxy.upstream.requests import request_head
from proxy.upstream.response import Response, UpstreamError
from proxy.wire.json_items import ItemReader, ItemsError

_LINES_AT_ONCE = 20


async def serve_passed(plane: Plane, endpoint: JobEndpoint, client: Client) -> None:
    """Raises `Refused` where there is an error to tell, `HungUp` where nobody is left to tell it to."""
    configured = plane.configured
    identity = plane.keys.identify(client.headers, now_s())
    client.admit(identity.key_id)
    client.request_id = plane.ids.new(now_us())
    batch = _Passed(plane, configured, identity, client, endpoint)
    try:
        await batch.first_line()
        await batch.run()
    except ItemsError as error:
        raise invalid_request(
            f"The batch cannot be read: {error}.", endpoint.passed_as.list_of if endpoint.passed_as else None
        ) from None


class _Passed:
    """One batch on its way."""

    def __init__(
        self, plane: Plane, configured: Configured, identity: Identity, client: Client, endpoint: JobEndpoint
    ) -> None:
        self._plane, self._configured, self._identity = plane, configured, identity
        self._client, self._endpoint = client, endpoint
        self._pieces = client.pieces(configured.config.jobs.max_file_mb * 1_000_000)
        assert endpoint.passed_as is not None
        self._form = endpoint.passed_as
        self._reader = ItemReader(self._form.list_of, int(configured.config.server.max_body_mb * 1_000_000))
        self._lines = Lines(plane, configured, identity)
        self._begun = b""
        self._attempt: Attempt | None = None

    async def first_line(self) -> None:
        """It goes where its first line's model is: so much is read before anything is sent."""
        while self._lines.route is None:
            piece = await anext(self._pieces, None)
            if piece is None:
                self._reader.finish()
                raise invalid_request(f"`{self._form.list_of}` is empty.", self._form.list_of)
            self._begun += await self._through(piece)

    async def run(self) -> None:
        route = self._lines.route
        assert route is not None
        destination = self._configured.destination(route, self._endpoint)
        exchange = await self._exchange()
        head = request_head(
            destination, b"POST", self._endpoint.target_of(route.model, self._client.query), None,
            family_headers=self._endpoint.family.headers, client_headers=self._client.headers,
            attempt_id=self._client.request_id, passed_too=self._endpoint.family.request_headers,
        )  # fmt: skip
        try:
            response = await self._configured.upstreams.upload(
                destination.pool, head, self._outgoing(exchange, route), holder=self._identity.key_id
            )
            if self._attempt is None:  # it has not waited for the end
                await self._refused(destination, response)
                return
            await answer(self._attempt, response)
        except UpstreamError as error:
            if self._attempt is not None and not self._attempt.closed:
                await abandon(self._attempt)
            raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None
        finally:
            if self._attempt is not None and not self._attempt.closed:
                await abandon(self._attempt)

    async def _exchange(self) -> Exchange:
        plane, configured, client = self._plane, self._configured, self._client
        call = self._endpoint.parse(orjson.dumps({self._form.list_of: [{self._form.body: {}}]}))
        call = call._replace(body={}, model=self._lines.bounds.models[0])
        attribution, conversation = await attributed(plane, configured, client, call, self._identity)
        client.session_id = attribution.session_id
        return Exchange(
            plane,
            configured,
            self._endpoint,
            client,
            self._identity,
            call,
            client.request_id,
            attribution,
            conversation,
        )

    async def _outgoing(self, exchange: Exchange, route: Route) -> AsyncIterator[bytes]:
        yield b'{"%s":[' % self._form.list_of.encode()
        yield self._begun
        self._begun = b""
        async for piece in self._pieces:
            yield await self._through(piece)
        self._reader.finish()
        await self._reserve(exchange, route)
        yield b"]}"

    async def _reserve(self, exchange: Exchange, route: Route) -> None:
        """Now that it is known what all of it comes to. Raises `Refused`."""
        self._identity = self._plane.keys.again(self._identity, now_s)  # a body may take its time
        bounds = self._lines.bounds
        call = exchange.call._replace(bounds=bounds.record(), size_bytes=0)
        exchange = exchange._replace(call=call, identity=self._identity)
        attempt = Attempt.of(exchange, plan(exchange, route, 1, 1))
        attempt.intend()
        self._attempt = attempt
        await guard(attempt)
        await reserve(attempt)
        attempt.dispatch()

    async def _through(self, piece: bytes) -> bytes:
        """The lines that end in this piece, as they are sent."""
        sent = []
        for number, item in enumerate(self._reader.feed(piece), 1):
            comma = b"," if self._lines.bounds.lines else b""
            sent.append(comma + self._line(item))
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # other calls go on meanwhile
        return b"".join(sent)

    def _line(self, item: bytes) -> bytes:
        value, form = fields.parse_object(item), self._form
        body = fields.mapping(value, form.body)
        if body is None:
            raise invalid_request(f"Line {self._lines.bounds.lines + 1}: `{form.body}` is missing.", form.list_of)
        sent = self._lines.add(form.path, body)
        return item if sent == body else orjson.dumps({**value, form.body: sent})

    async def _refused(self, destination: Destination, response: Response) -> None:
        headers, body = destination.for_client(response.status, passed_headers(response.headers), await held(response))
        await self._client.respond(response.status, headers, body)
