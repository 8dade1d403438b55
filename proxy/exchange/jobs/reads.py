"""Requests about jobs that begin none: polls, lists, downloads, deletions. They cost nothing and have no entry; only what is
the caller's own is reached, and an end that passes by is settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote

import orjson

from proxy.access.stored_owners import digest
from proxy.downstream.address import root_of
from proxy.downstream.client import Client
from proxy.errors import not_found, upstream_timeout, upstream_unreachable
from proxy.exchange.jobs.asking import (
    answer_of,
    ask,
    bytes_of,
    destination_of,
    find_job,
    find_jobs,
    home_of,
    job_digest,
    seen,
    send,
    whole,
    withdraw,
)
from proxy.exchange.jobs.resumable import serve_resumable
from proxy.exchange.jobs.uploads import serve_upload
from proxy.exchange.passed_headers import passed_headers
from proxy.exchange.plane import Plane
from proxy.exchange.references import recall_ids
from proxy.jobs.api import Answer, JobApi, Matched
from proxy.jobs.apis import BY_NAME
from proxy.jobs.job import Job
from proxy.times import now_s, now_us
from proxy.types import Identity
from proxy.upstream.destinations import Destination
from proxy.upstream.inflated import plain
from proxy.upstream.response import Response, UpstreamError

_HELD_BYTES = 64 * 1024 * 1024
_MOST_PAGES = 20
_MOST_SHOWN = 100
_EVERY = 1_000_000
_JSON = (b"content-type", b"application/json")


async def serve(plane: Plane, matched: Matched, client: Client) -> None:
    """Raises `Refused` where there is an error to tell."""
    if matched.route.does == "upload":
        await serve_upload(plane, matched, client)
        return
    if matched.route.does == "resumable":
        await serve_resumable(plane, matched, client)
        return
    identity = plane.keys.identify(client.headers, now_s())
    client.admit(identity.key_id)
    body = await client.body()
    client.request_id = plane.ids.new(now_us())
    if matched.route.does == "list":
        await _list(plane, matched, client, identity)
        return
    job, upstream = None, ""
    if matched.route.does == "open":
        upstream = home_of(plane.configured.config, matched.api)
    elif matched.api.owned == "stored":
        await recall_ids(plane, identity, [matched.job_id or ""])
        upstream = plane.stored_owners.find(identity, matched.job_id or "").upstream
    else:
        job = await find_job(plane, identity, matched.api, matched.job_id or "")
        upstream = job.upstream
    destination = destination_of(plane, upstream, matched.api)
    if destination is None:
        raise not_found()
    sent_body = body if matched.route.has_body else b""
    target = matched.target(client.query)
    if matched.route.does == "forget" and job is not None and not job.ended and matched.api.gone is None:
        await ask(plane, job)  # behind its deletion nobody says any more what it came to
    response = await _send(plane, destination, matched, client, identity, target, sent_body)
    try:
        if matched.route.does == "forget" and job is not None and response.status < 300:
            await seen(plane, job, Answer(404, {}))  # it is not there any more
        if matched.route.does in ("read", "cancel") and job is not None:
            plane.jobs.asked_at[job.id] = now_s()
            await _read(plane, job, client, destination, response, target)
        else:
            await relay(client, destination, response, matched.api.family.answer_headers)
    except UpstreamError as error:
        if client.started:
            await client.drop()
            return
        raise _fault(error) from None
    finally:
        if matched.route.does in ("forget", "cancel") and job is not None and response.status < 300:
            withdraw(plane, job)


async def _send(
    plane: Plane,
    destination: Destination,
    matched: Matched,
    client: Client,
    identity: Identity,
    target: str,
    body: bytes,
) -> Response:
    try:
        return await send(
            plane, destination, matched.api, matched.route.method, target,
            attempt_id=client.request_id, body=body, client_headers=client.headers, holder=identity.key_id,
        )  # fmt: skip
    except UpstreamError as error:
        raise _fault(error) from None


def _fault(error: UpstreamError) -> Exception:
    return (upstream_timeout if error.timed_out else upstream_unreachable)(f"{error}.")


async def relay(
    client: Client, destination: Destination, response: Response, also: frozenset[bytes] = frozenset()
) -> None:
    """Pass an answer on as it comes; an error whole, without our own credentials."""
    body = plain(response)
    headers = passed_headers(response.headers, also)
    if response.status >= 400:
        collected = bytearray()
        while data := await body.read():
            collected += data[: _HELD_BYTES - len(collected)]
        headers, held = destination.for_client(response.status, headers, bytes(collected))
        await client.respond(response.status, headers, held)
        return
    await client.start(response.status, headers)
    while data := await body.read():
        await client.write(data)
        if client.gone:
            response.abort()
            return
    await client.end()


async def _read(
    plane: Plane, job: Job, client: Client, destination: Destination, response: Response, target: str
) -> None:
    """What a job says of itself, held until its end is on disk."""
    body, collected = plain(response), bytearray()
    while data := await body.read():
        collected += data
        if len(collected) > _HELD_BYTES:
            response.abort()
            raise UpstreamError("protocol", "the upstream's answer is too long", sent=True)
    held = bytes(collected)
    answer, api = answer_of(response, held, target), BY_NAME[job.api]
    if answer is None and api.makes_bytes:
        answer = bytes_of(response, target)
    if answer is not None:
        await seen(plane, job, answer)
        if api.shown is not None and answer.status < 300:
            held = orjson.dumps(api.shown(answer.body, _root(plane, client), job.asked))
    headers = passed_headers(response.headers, api.family.answer_headers)
    headers, held = destination.for_client(response.status, headers, held)
    await client.respond(response.status, headers, held)


def _root(plane: Plane, client: Client) -> str:
    return root_of(client.headers, plane.configured.config.server.public_url)


# Lists


async def _list(plane: Plane, matched: Matched, client: Client, identity: Identity) -> None:
    """Of what a provider lists only what is the caller's own: it is asked page by page until there is enough of that."""
    api, query = matched.api, parse_qs(client.query.decode("latin-1"))
    destination = destination_of(plane, home_of(plane.configured.config, api), api)
    if destination is None:
        raise not_found()
    root, path = _root(plane, client), matched.target(b"")
    start = _offset(query) if api.by_offset else 0
    whole_pages = api.envelope is not None or bool(api.cursor)
    limit = _EVERY if whole_pages else start + _limit(query)
    own: list[Any] = []
    first: dict[str, Any] = {}
    last: Mapping[str, Any] = {}
    target, more, cut = matched.target(client.query), False, False
    if api.by_offset:  # which counts what is the caller's own
        query |= {"limit": [str(_MOST_SHOWN)], "offset": ["0"]}
        target = _with(path, query, matched.route.queries)
    for _ in range(_MOST_PAGES):
        response = await _send(plane, destination, matched, client, identity, target, b"")
        answer = await _page(response)
        if answer is None or answer.status >= 300:
            await client.respond(502 if answer is None else answer.status, [_JSON], _error(answer))
            return
        first, last = first or dict(answer.body), answer.body
        page = answer.body.get(api.list_of)
        items = [item for item in page if isinstance(item, dict)] if isinstance(page, list) else []
        for item, facts in await _owned(plane, identity, api, items, path):
            cut = len(own) >= limit
            if not cut:
                own.append(api.shown(item, root, facts) if api.shown is not None else item)
        more = bool(api.next_page(answer.body, items))
        if not more or len(own) >= limit or (own and whole_pages):
            break
        target = _with(path, {**query, **api.next_page(answer.body, items)}, matched.route.queries)
    listed = _listed(api, first, own[start:], more=more or cut)
    if api.by_offset:
        listed |= {"limit": limit - start, "offset": start, "count": len(own[start:])}
    if api.cursor:
        listed = {name: value for name, value in listed.items() if name != api.cursor}
        listed |= {api.cursor: last[api.cursor]} if more else {}
    if api.envelope is not None:
        listed |= api.envelope(last, root, more)
    await client.respond(200, [_JSON], orjson.dumps(listed))


async def _page(response: Response) -> Answer | None:
    try:
        return await whole(response)
    except UpstreamError as error:
        raise _fault(error) from None


def _error(answer: Answer | None) -> bytes:
    return orjson.dumps(
        answer.body if answer is not None else {"error": {"message": "The upstream's list cannot be read."}}
    )


async def _owned(
    plane: Plane, identity: Identity, api: JobApi, items: list[dict[str, Any]], path: str
) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """Those of a list's items that are the caller's own, each with what is known of its price."""
    if api.owned == "stored":
        ids = [api.listed_id(item) for item in items]
        await recall_ids(plane, identity, ids, patient=False)
        unknown = set(plane.stored_owners.unknown(digest(identity, one) for one in ids))
        return [(item, {}) for item, one in zip(items, ids, strict=True) if digest(identity, one) not in unknown]
    keys = [job_digest(identity, api, api.listed_id(item)) for item in items]
    jobs = await find_jobs(plane, keys, patient=False)
    for item, key in zip(items, keys, strict=True):
        if key in jobs:
            await seen(plane, jobs[key], Answer(200, item, path=path))
    return [(item, jobs[key].asked) for item, key in zip(items, keys, strict=True) if key in jobs]


def _limit(query: Mapping[str, list[str]]) -> int:
    for name in ("limit", "pageSize", "page_size"):
        text = query.get(name, [""])[-1]
        if text.isascii() and text.isdigit():
            return max(1, min(int(text), _MOST_SHOWN))
    return _MOST_SHOWN if not query else 20


def _offset(query: Mapping[str, list[str]]) -> int:
    text = query.get("offset", [""])[-1]
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0


def _with(path: str, query: Mapping[str, Any], known: frozenset[str]) -> str:
    parts = [
        f"{name}={quote(str(v[-1] if isinstance(v, list) else v), safe='')}"
        for name, v in query.items()
        if name in known
    ]
    return f"{path}?{'&'.join(parts)}" if parts else path


def _listed(api: JobApi, page: Mapping[str, Any], own: list[Any], *, more: bool) -> dict[str, Any]:
    """The provider's own page, with the caller's jobs in it and nothing that points at others'."""
    ids = [item.get(api.id_of) for item in own] or [None]
    ends = {"first_id": ids[0], "last_id": ids[-1], "has_more": more}
    return {**page, **{name: value for name, value in ends.items() if name in page}, api.list_of: own}
