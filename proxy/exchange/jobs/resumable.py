"""Gemini's uploads: a file that is begun, and then comes in parts, each a request of its own.

The begin has a key, the parts have none: the SDK sends them to whatever URL it was given, and that is all they say. So the URL
that a client gets leads here, and says whose upload it is, under a signature that nobody else can make (its key is made of the
upstream's own credential, which all replicas have). Parts pass as they come; a file whose type says that it has lines is read
meanwhile, for what a batch of it may cost (`proxy/jobs/shapes.py`). What is read is what the provider took: a part that is not
the next one, or that it took but half of, ends the reading, and the file is no batch's.

Protocol: google-genai 3.4 and 3.6, `_api_client._upload_fd`; ai.google.dev/api/files.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import orjson

from proxy.access.keys import credential
from proxy.downstream.address import root_of
from proxy.downstream.client import Client
from proxy.errors import (
    Refused,
    invalid_request,
    not_found,
    stored_not_found,
    too_large,
    upstream_timeout,
    upstream_unreachable,
)
from proxy.exchange.jobs.asking import answer_of, destination_of, home_of
from proxy.exchange.jobs.request_lines import RequestLines
from proxy.exchange.jobs.upload_entry import UploadEntry, held
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.plane import Plane
from proxy.jobs.api import Matched
from proxy.times import now_s, now_us
from proxy.types import Identity, Route
from proxy.upstream.destinations import Destination
from proxy.upstream.requests import request_head
from proxy.upstream.response import Response, UpstreamError

_SENT = frozenset({
    b"x-goog-upload-protocol", b"x-goog-upload-command", b"x-goog-upload-offset", b"x-goog-upload-header-content-length",
    b"x-goog-upload-header-content-type", b"x-goog-upload-file-name",
})  # fmt: skip
_ANSWER_HEADERS = frozenset(
    {b"x-goog-upload-status", b"x-goog-upload-chunk-granularity", b"x-goog-upload-size-received"}
)
_COMMANDS = frozenset({"upload", "upload, finalize", "finalize", "query", "cancel"})
_OF_LINES = ("jsonl", "ndjson", "json-lines", "jsonlines", "json-seq")
_LIVES_S = 48 * 3600
_MAX_TOKEN_BYTES = 8192
_MAX_LABELS_BYTES = 2048
_MOST_DIGITS = 18
_OURS = b"x-taximeter-"


class _Begun(NamedTuple):
    """What the URL of an upload says. upstream: where it goes. target: the provider's own URL for it. labels: headers of ours
    that its begin had. has_lines: its type says so. until: epoch seconds."""

    key_id: str
    upstream: str
    target: str
    labels: Mapping[str, str]
    has_lines: bool
    until: int


async def serve_resumable(plane: Plane, matched: Matched, client: Client) -> None:
    """Raises `Refused` where there is an error to tell, `HungUp` where nobody is left to tell it to."""
    ids = parse_qs(client.query.decode("latin-1")).get("upload_id", [])
    if ids:
        await _part(plane, matched, client, ids[0])
    else:
        await _begin(plane, matched, client)


async def _begin(plane: Plane, matched: Matched, client: Client) -> None:
    identity = plane.keys.identify(client.headers, now_s())
    client.admit(identity.key_id)
    body = await client.body()
    client.request_id = plane.ids.new(now_us())
    headers = client.headers
    command = headers.get(b"x-goog-upload-command", b"").strip().lower()
    if headers.get(b"x-goog-upload-protocol", b"").strip().lower() != b"resumable" or command != b"start":
        raise invalid_request("Uploads are resumable here: send X-Goog-Upload-Protocol: resumable, and start.")
    stated, limit = _number(headers.get(b"x-goog-upload-header-content-length", b"")), _limit(plane)
    if stated is not None and stated > limit:
        raise too_large(limit)
    upstream = home_of(plane.configured.config, matched.api)
    destination = destination_of(plane, upstream, matched.api)
    if destination is None:
        raise not_found()
    if not destination.secrets:
        raise invalid_request(f"Uploads need an `api_key` of the upstream {upstream!r}, which signs their URLs.")
    pieces = _whole(body)
    try:
        response = await _sent(plane, matched, client, destination, matched.route.target, identity, pieces, len(body))
        answer = await held(response)
    except UpstreamError as error:
        raise _fault(error) from None
    passed = passed_headers(response.headers, _ANSWER_HEADERS)
    if response.status < 300 and (url := response.header(b"x-goog-upload-url")):
        begun = _Begun(
            identity.key_id, upstream, _target_of(destination, url), _labels(headers), _has_lines(headers, body),
            int(now_s()) + _LIVES_S,
        )  # fmt: skip
        passed.append((b"x-goog-upload-url", _url(plane, client, matched, destination, begun)))
    answered, answer = destination.for_client(response.status, passed, answer)
    await client.respond(response.status, answered, answer)


async def _part(plane: Plane, matched: Matched, client: Client, token: str) -> None:
    begun = _read(plane, matched, token)
    identity = plane.keys.known(begun.key_id, now_s())
    if credential(client.headers) is not None and plane.keys.identify(client.headers, now_s()) != identity:
        raise stored_not_found("upload_id")
    client.admit(identity.key_id)
    client.request_id = plane.ids.new(now_us())
    destination = destination_of(plane, begun.upstream, matched.api)
    size = _number(client.headers.get(b"content-length", b""))
    command = client.headers.get(b"x-goog-upload-command", b"").decode("latin-1").strip().lower()
    start = _number(client.headers.get(b"x-goog-upload-offset", b"0"))
    if destination is None or command not in _COMMANDS:
        raise invalid_request("X-Goog-Upload-Command must be upload, finalize, query or cancel.")
    if size is None or start is None:
        raise invalid_request("Each part needs a Content-Length and an X-Goog-Upload-Offset.")
    limit = _limit(plane)
    if start + size > limit:
        raise too_large(limit)
    lines = _lines_at(plane, identity, begun, token, start) if command.startswith(("upload", "finalize")) else None
    client.headers = {
        **client.headers,
        **{name.encode(): text.encode("latin-1") for name, text in begun.labels.items()},
    }
    entry = UploadEntry(plane, plane.configured, identity, client)
    final = command.endswith("finalize")
    if final:
        provider = plane.configured.config.upstreams[begun.upstream].provider_name(begun.upstream)
        (await entry.begin(Route("", begun.upstream, provider, ""), destination)).dispatch()
    try:
        pieces = _through(client, size, lines)
        response = await _sent(plane, matched, client, destination, begun.target, identity, pieces, size)
        status, body = (response.header(b"x-goog-upload-status") or b"").lower(), await held(response)
        if final and lines is not None:
            await lines.finish()
        took = _took(response, start + size) and status == (b"final" if final else b"active")
        if lines is not None and not (took and response.status < 300):
            lines.give_up("its provider did not take its parts as they came")
        if final:
            answer = answer_of(response, body)
            file = answer.body.get("file") if answer is not None and response.status < 300 else None
            file = file if isinstance(file, dict) else {}
            facts = lines.record(file) if lines is not None else None
            await entry.settle(response.status, matched.api.job_id(file), facts)
        elif lines is not None:
            plane.jobs.uploads.keep(token, lines, start + size)
    except UpstreamError as error:
        if final:
            await entry.failed(error)
        if not error.sent:
            plane.jobs.uploads.forget(token)
        raise _fault(error) from None
    finally:
        await entry.cut()
    headers, body = destination.for_client(response.status, passed_headers(response.headers, _ANSWER_HEADERS), body)
    await client.respond(response.status, headers, body)


def _lines_at(plane: Plane, identity: Identity, begun: _Begun, token: str, start: int) -> RequestLines | None:
    """What was read of its lines up to here; None where it has none."""
    if not begun.has_lines:
        return None
    begin = partial(RequestLines, plane, identity, begun.upstream)
    lines: RequestLines | None = plane.jobs.uploads.take(token, start, begin)
    if lines is None:
        lines = begin()
        lines.give_up("its parts came to more than one process, or not one behind the other")
    return lines


async def _through(client: Client, size: int, lines: RequestLines | None) -> AsyncIterator[bytes]:
    async for piece in client.pieces(size):
        if lines is not None:
            await lines.read(piece)
        yield piece


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _took(response: Response, end: int) -> bool:
    received = response.header(b"x-goog-upload-size-received")
    return received is None or received == b"%d" % end


async def _sent(
    plane: Plane, matched: Matched, client: Client, destination: Destination, target: str, identity: Identity,
    pieces: AsyncIterator[bytes], size: int,
) -> Response:  # fmt: skip
    head = request_head(
        destination, b"POST", target, size, family_headers=matched.api.family.headers, client_headers=client.headers,
        attempt_id=client.request_id, passed_too=_SENT,
    )  # fmt: skip
    upstreams = plane.configured.upstreams
    return await upstreams.upload(destination.pool, head, pieces, holder=identity.key_id, chunked=False)


def _fault(error: UpstreamError) -> Refused:
    return (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.")


def _number(text: bytes) -> int | None:
    """A number of bytes."""
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else None


def _limit(plane: Plane) -> int:
    return plane.configured.config.jobs.max_file_mb * 1_000_000


def _has_lines(headers: Mapping[bytes, bytes], body: bytes) -> bool:
    types = headers.get(b"x-goog-upload-header-content-type", b"") + b" " + body
    return any(word in types.decode("latin-1").lower() for word in _OF_LINES)


def _labels(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """What its parts are counted under too, for they do not say it."""
    ours = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items() if name.startswith(_OURS)
    }
    if sum(len(name) + len(value) for name, value in ours.items()) > _MAX_LABELS_BYTES:
        raise invalid_request("The headers x-taximeter-… of an upload are too long.")
    return ours


# The URL of an upload


def _target_of(destination: Destination, url: bytes) -> str:
    """The provider's own URL for its parts, as a path below its base URL: whatever host it names, it is asked where it is."""
    parts = urlsplit(url.decode("latin-1"))
    path = parts.path.removeprefix(destination.origin.path)
    if not path.startswith("/upload/"):
        raise upstream_unreachable("The upstream sent no valid URL for the upload.")
    return f"{path}?{parts.query}" if parts.query else path


def _url(plane: Plane, client: Client, matched: Matched, destination: Destination, begun: _Begun) -> bytes:
    payload = base64.urlsafe_b64encode(orjson.dumps(tuple(begun))).rstrip(b"=")
    token = payload + b"." + _signature(destination, payload)
    root = root_of(client.headers, plane.configured.config.server.public_url)
    return f"{root}{client.path}?upload_id={token.decode()}&upload_protocol=resumable".encode()


def _read(plane: Plane, matched: Matched, token: str) -> _Begun:
    """Raises `Refused` (404) for what we have not signed, or not lately."""
    payload, _, signature = token.partition(".")
    try:
        value: Any = (
            orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            if len(token) <= _MAX_TOKEN_BYTES
            else []
        )
        begun = _Begun(*value)
    except (ValueError, TypeError):
        raise stored_not_found("upload_id") from None
    destination = destination_of(plane, begun.upstream, matched.api) if isinstance(begun.upstream, str) else None
    if (
        destination is None
        or not destination.secrets
        or not hmac.compare_digest(_signature(destination, payload.encode()), signature.encode())
    ):
        raise stored_not_found("upload_id")
    if begun.until < now_s():
        raise stored_not_found("upload_id")
    return begun


def _signature(destination: Destination, payload: bytes) -> bytes:
    key = hashlib.sha256(b"taximeter upload\0" + destination.fixed).digest()
    return hmac.digest(key, payload, "sha256").hex().encode()
