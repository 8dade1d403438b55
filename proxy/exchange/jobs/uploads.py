"""Files on their way to a provider: passed on as they come; a batch's lines are bounded as they pass.

An upload is free and has an entry of its own, which says whose the file is and what a batch of it may cost at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import orjson

from proxy.config.model import Config
from proxy.dialects import OPENAI, Endpoint, fields, openai
from proxy.downstream.client import Client
from proxy.downstream.pieces import HungUp
from proxy.errors import (
    Refused,
    invalid_request,
    not_found,
    overloaded,
    unbounded_cost,
    upstream_timeout,
    upstream_unreachable,
)
from proxy.exchange.configured import Configured
from proxy.exchange.jobs.asking import answer_of, destination_of, home_of
from proxy.exchange.jobs.lines import Lines, blocking
from proxy.exchange.jobs.upload_entry import UploadEntry, held
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.plane import Plane
from proxy.jobs.api import JobApi, Matched
from proxy.times import now_s, now_us
from proxy.types import Call, Identity, Route
from proxy.upstream.destinations import Destination
from proxy.upstream.requests import request_head
from proxy.upstream.response import Response, UpstreamError
from proxy.wire.multipart import FormError, Part
from proxy.wire.multipart_stream import FormReader

_MAX_FIELDS_BYTES = 64 * 1024
_LINES_AT_ONCE = 20
_CALL = Call(dialect="openai.count_tokens", operation="files", model="", body={}, stream=False, size_bytes=0, free=True)
_FILES = Endpoint(OPENAI, "files", "/files", lambda raw: _CALL, openai.cap_nothing, encode=fields.encode_nothing)


async def serve_upload(plane: Plane, matched: Matched, client: Client) -> None:
    """Raises `Refused` where there is an error to tell, `HungUp` where nobody is left to tell it to."""
    configured = plane.configured
    identity = plane.keys.identify(client.headers, now_s())
    client.admit(identity.key_id)
    client.request_id = plane.ids.new(now_us())
    form = _Form(client, matched.api, configured.config)
    try:
        await form.begin()
        is_batch = matched.api.of_lines and form.fields.get("purpose") == b"batch"
        lines = Lines(plane, configured, identity, most_models=1) if is_batch else None
        upload = _Upload(plane, configured, identity, client, form, lines)
        await upload.first_line()
        await upload.run(matched)
    except FormError as error:
        raise invalid_request(f"Send multipart/form-data: {error}.") from None


class _Form:
    """A form with one file, read as it comes: the fields before the file, then the file, then what stands behind it.

    Without a field that has to be known first (openai-java sends `purpose` last) the file is held until it has come, as long
    as a body may be that is held whole.
    """

    def __init__(self, client: Client, api: JobApi, config: Config) -> None:
        self._client = client
        self._file_field, self._first_field = api.file_field, api.first_field
        self._max_held_mb = config.server.max_body_mb
        self._held: deque[bytes] = deque()
        self._pieces = client.pieces(config.jobs.max_file_mb * 1_000_000)
        self._reader = FormReader()
        self._waiting: deque[Part | bytes] = deque()
        self.fields: dict[str, bytes] = {}
        self.file: Part | None = None
        self._last: str | None = None

    @property
    def boundary(self) -> bytes:
        return self._reader.boundary

    async def begin(self) -> None:
        """Up to the file. Raises `Refused` where there is none."""
        while self.file is None:
            event = await self._next()
            if event is None:
                raise invalid_request(f"`{self._file_field}` is missing.", self._file_field)
            self._take(event)
        first = self._first_field
        if first and first not in self.fields:
            await self._hold_file()
            if first not in self.fields:
                raise invalid_request(f"`{first}` is missing.", first)

    async def _hold_file(self) -> None:
        held = 0
        async for piece in self._read_on():
            held += len(piece)
            if held > self._max_held_mb * 1_000_000:
                field = f"`{self._first_field}` must stand before `{self._file_field}` in a form of more than"
                raise invalid_request(f"{field} {self._max_held_mb:g} MB (server.max_body_mb).", self._first_field)
            if not self._client.hold(len(piece)):
                raise overloaded("bytes")
            self._held.append(piece)

    def _take(self, event: Part | bytes) -> None:
        if isinstance(event, bytes):
            assert self._last is not None
            self.fields[self._last] += event
            if sum(map(len, self.fields.values())) > _MAX_FIELDS_BYTES:
                raise FormError("its fields are too long")
        elif event.filename is not None or event.name == self._file_field:
            if event.name != self._file_field or self.file is not None:
                raise invalid_request(f"There must be one `{self._file_field}`.", self._file_field)
            self.file, self._last = event, None
        else:
            if event.name in self.fields:
                raise invalid_request(f"`{event.name}` is given more than once.", event.name)
            self.fields[event.name], self._last = b"", event.name

    async def file_pieces(self) -> AsyncIterator[bytes]:
        """What the file has; the fields behind it are in `fields` then."""
        while self._held:
            piece = self._held.popleft()
            self._client.let_go(len(piece))
            yield piece
        async for piece in self._read_on():
            yield piece

    async def _read_on(self) -> AsyncIterator[bytes]:
        while (event := await self._next()) is not None:
            if isinstance(event, bytes) and self._last is None:
                yield event
            else:
                self._take(event)
        self._reader.finish()

    async def _next(self) -> Part | bytes | None:
        while not self._waiting:
            piece = await anext(self._pieces, None)
            if piece is None:
                return None
            self._waiting.extend(self._reader.feed(piece))
        return self._waiting.popleft()


class _Upload:
    """One upload. lines: of a batch's file; None for any other."""

    def __init__(
        self, plane: Plane, configured: Configured, identity: Identity, client: Client, form: _Form, lines: Lines | None
    ) -> None:
        self._plane = plane
        self._configured = configured
        self._identity = identity
        self._client = client
        self._form = form
        self._lines = lines
        self._file = form.file_pieces()
        self._begun: list[bytes] = []  # the first line, as it is sent
        self._rest: list[bytes] = []  # of a line that has not ended
        self._blocking: bool | None = None

    async def first_line(self) -> None:
        """A batch goes where its first line's model is: so much is read before anything is sent."""
        while self._lines is not None and self._lines.route is None:
            piece = await anext(self._file, None)
            if piece is None:
                self._begun.append(self._line(self._last_line()))
                if self._lines.route is None:
                    raise invalid_request("The file has no lines.", "file")
                return
            self._begun.append(await self._through(piece))

    async def run(self, matched: Matched) -> None:
        route = self._route(matched)
        destination = destination_of(self._plane, route.upstream, matched.api)
        if destination is None:
            raise not_found()
        entry = UploadEntry(self._plane, self._configured, self._identity, self._client)
        attempt = await entry.begin(route, destination)
        head = request_head(
            destination, b"POST", matched.target(self._client.query), None, family_headers=matched.api.family.headers,
            client_headers=self._client.headers, attempt_id=attempt.id,
            content_type=b"multipart/form-data; boundary=" + self._form.boundary,
        )  # fmt: skip
        attempt.dispatch()
        try:
            response = await self._configured.upstreams.upload(
                destination.pool, head, self._outgoing(), holder=self._identity.key_id
            )
            await self._answer(entry, matched.api, response, destination)
        except UpstreamError as error:
            await entry.failed(error)
            raise (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.") from None
        except (Refused, HungUp, FormError):
            await attempt.void("cut")  # the provider has got no whole request
            raise
        finally:
            await entry.cut()

    async def _answer(self, entry: UploadEntry, api: JobApi, response: Response, destination: Destination) -> None:
        body = await held(response)
        answer = answer_of(response, body)
        file_id = api.job_id(answer.body) if answer is not None and response.status < 300 else None
        await entry.settle(response.status, file_id, self._lines.bounds.record() if self._lines is not None else None)
        headers, body = destination.for_client(response.status, passed_headers(response.headers), body)
        await self._client.respond(response.status, headers, body)

    def _route(self, matched: Matched) -> Route:
        if self._lines is not None and self._lines.route is not None:
            return self._lines.route
        upstream = home_of(self._configured.config, matched.api)
        if not upstream:
            raise not_found()
        provider = self._configured.config.upstreams[upstream].provider_name(upstream)
        return Route("", upstream, provider, "")

    # On its way

    async def _outgoing(self) -> AsyncIterator[bytes]:
        form = self._form
        assert form.file is not None
        before = [Part(name, data) for name, data in form.fields.items()]
        for part in before:
            yield _head(form.boundary, part) + part.data + b"\r\n"
        yield _head(form.boundary, form.file)
        for piece in self._begun:
            yield piece
        self._begun.clear()
        async for piece in self._file:
            yield piece if self._lines is None else await self._through(piece)
        if last := self._last_line():
            yield self._line(last)
        behind = [Part(name, data) for name, data in form.fields.items() if name not in {part.name for part in before}]
        for part in behind:
            yield b"\r\n" + _head(form.boundary, part) + part.data
        yield b"\r\n--" + form.boundary + b"--\r\n"

    async def _through(self, piece: bytes) -> bytes:
        """The lines that end in this piece, as they are sent."""
        *whole, last = piece.split(b"\n")
        if whole:
            whole[0] = b"".join([*self._rest, whole[0]])
            self._rest.clear()
        self._rest.append(last)
        if sum(map(len, self._rest)) > self._configured.config.server.max_body_mb * 1_000_000:
            raise invalid_request("A line of the file is too long (server.max_body_mb).", "file")
        sent = []
        for number, line in enumerate(whole, 1):
            sent.append(self._line(line) + b"\n")
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)  # other calls go on meanwhile
        return b"".join(sent)

    def _last_line(self) -> bytes:
        """What stands behind the last line's end."""
        last = b"".join(self._rest)
        self._rest.clear()
        return last

    def _line(self, line: bytes) -> bytes:
        lines = self._lines
        if lines is None or not line.strip():
            return line
        value = fields.parse_object(line)
        body = fields.mapping(value, "body")
        if body is None or value.get("method", "POST") != "POST":
            raise invalid_request(f"Line {lines.bounds.lines + 1}: it must be a POST with a `body`.", "file")
        sent = lines.add(fields.text(value, "url") or "", body)
        if lines.bounds.missing and self._blocks():
            raise unbounded_cost(
                f"Line {lines.bounds.lines}: its cost has no bound, and a budget blocks: {lines.bounds.missing}.",
                "file",
            )
        return line if sent == body else orjson.dumps({**value, "body": sent})

    def _blocks(self) -> bool:
        if self._blocking is None:
            assert self._lines is not None
            assert self._lines.route is not None
            budgets = self._configured.budgets.certain(self._identity, self._lines.route)
            self._blocking = blocking(budgets)
        return self._blocking


def _head(boundary: bytes, part: Part) -> bytes:
    head = b'--%s\r\ncontent-disposition: form-data; name="%s"' % (boundary, part.name.encode())
    if part.filename is not None:
        head += b'; filename="%s"' % part.filename
    if part.content_type is not None:
        head += b"\r\ncontent-type: " + part.content_type
    return head + b"\r\n\r\n"
