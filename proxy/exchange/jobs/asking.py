"""Asks a job's provider for its state, for a client or because no client asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from proxy.access.stored_owners import digest
from proxy.config.model import Config
from proxy.errors import stored_not_found
from proxy.exchange.jobs.end import end_job, note_leaves
from proxy.exchange.jobs.results import Priced, price_lines, read_results
from proxy.exchange.plane import Plane
from proxy.jobs.api import Answer, Ended, JobApi
from proxy.jobs.apis import BY_NAME
from proxy.jobs.job import Job
from proxy.times import now_s, now_us
from proxy.types import Identity
from proxy.upstream.destinations import Destination
from proxy.upstream.requests import request_head
from proxy.upstream.response import Response, UpstreamError
from proxy.wire import lenient

_ASK_AGAIN_S = (0, 0.25, 0.75)  # what another worker has just been answered is in the ledger within a second
_ANSWER_S = 60.0
_RESULTS_S = 3600.0
_NOT_THERE = (403, 404, 410)
_MAX_ANSWER_BYTES = 64 * 1024 * 1024
_NO_HEADERS: Mapping[bytes, bytes] = {}


def job_digest(identity: Identity, api: JobApi, provider_id: str) -> str:
    """What a job is known by: another team's, or another API's same id has another digest."""
    return digest(identity, f"{api.name} {provider_id}")


async def find_job(plane: Plane, identity: Identity, api: JobApi, provider_id: str) -> Job:
    """Raises `Refused` (404) for an id that is unknown, or another team's."""
    key = job_digest(identity, api, provider_id)
    jobs = await find_jobs(plane, [key])
    if key not in jobs:
        raise stored_not_found("id")
    return jobs[key]


async def find_jobs(plane: Plane, digests: list[str], *, patient: bool = True) -> dict[str, Job]:
    """Those that are known here or to the ledger, by digest. patient: another worker may have made one just now."""
    known = plane.jobs
    for pause_s in _ASK_AGAIN_S if patient else (0,):
        unknown = [key for key in digests if known.by_digest.get(key) is None]
        if not unknown or known.recall is None:
            break
        await asyncio.sleep(pause_s)
        for row in await known.recall(unknown) or ():
            known.note_row(row)
    return {key: job for key in digests if (job := known.by_digest.get(key)) is not None}


def destination_of(plane: Plane, upstream: str, api: JobApi) -> Destination | None:
    return plane.configured.destinations.get((upstream, api.family.name))


def home_of(config: Config, api: JobApi) -> str:
    """The upstream that an API's lists and files are at: of those that speak its dialect the provider's own, else the first."""
    speaking = [name for name, row in config.upstreams.items() if api.family.name in row.spoken(name)]
    own = [name for name in speaking if config.upstreams[name].provider_name(name) in api.providers]
    return next(iter([*own, *speaking]), "")


async def send(
    plane: Plane,
    destination: Destination,
    api: JobApi,
    method: str,
    target: str,
    *,
    attempt_id: str,
    body: bytes = b"",
    client_headers: Mapping[bytes, bytes] = _NO_HEADERS,
    holder: str = "",
) -> Response:
    """Send one request of a job's API; its response, whose body is still to come. Raises `UpstreamError`."""
    head = request_head(
        destination, method.encode(), target, len(body),
        family_headers=api.family.headers, client_headers=client_headers, attempt_id=attempt_id,
        passed_too=api.family.request_headers,
    )  # fmt: skip
    return await plane.configured.upstreams.send(destination.pool, head, body, holder=holder)


async def ask(plane: Plane, job: Job) -> bool:
    """Ask a job's provider how it stands, and settle it where it has ended; whether it has answered. Never raises for what the
    provider does."""
    api = BY_NAME.get(job.api)
    destination = None if api is None else destination_of(plane, job.upstream, api)
    if api is None or destination is None:
        return False  # of a version or a configuration that knew it
    plane.jobs.asked_at[job.id] = now_s()
    try:
        async with asyncio.timeout(_ANSWER_S):
            path = api.poll(job)
            response = await send(plane, destination, api, "GET", path, attempt_id=job.id)
            if api.makes_bytes and not _is_json(response):
                answer: Answer | None = bytes_of(response, path)
                response.abort()  # whoever wants it asks for it
            else:
                answer = await _told_of(response, path)
    except (UpstreamError, TimeoutError):
        return False
    if answer is None or (answer.status >= 300 and answer.status not in _NOT_THERE):
        return False
    await seen(plane, job, answer, wait=True)
    return True


async def whole(response: Response, path: str = "") -> Answer | None:
    """An answer as JSON; None where it is none, or too long."""
    body = bytearray()
    while data := await response.read():
        body += data
        if len(body) > _MAX_ANSWER_BYTES:
            response.abort()
            return None
    return answer_of(response, bytes(body), path)


async def _told_of(response: Response, path: str) -> Answer | None:
    """What is said of a job; that it is not there needs no words."""
    answer = await whole(response, path)
    return Answer(response.status, {}) if answer is None and response.status in _NOT_THERE else answer


def bytes_of(response: Response, path: str) -> Answer:
    """An answer that is no JSON."""
    return Answer(response.status, {}, _headers(response), path.partition("?")[0])


def _is_json(response: Response) -> bool:
    return b"json" in (response.header(b"content-type") or b"").lower()


def _headers(response: Response) -> Mapping[str, str]:
    return {name.decode("latin-1"): text.decode("latin-1") for name, text in response.headers}


def answer_of(response: Response, body: bytes, path: str = "") -> Answer | None:
    value = next((value for value in lenient.answer(body).values if isinstance(value, dict)), None)
    if value is None:
        return None
    return Answer(response.status, value, _headers(response), path.partition("?")[0])


async def seen(plane: Plane, job: Job, answer: Answer, *, wait: bool = False) -> None:
    """What a provider said of a job: settle it, if that is its end and nobody is about to. Results are read behind the
    caller's back, unless it waits."""
    api = BY_NAME[job.api]
    if job.ended and not api.changes_later:
        return
    if answer.status < 300:
        ended = api.read_end(job, answer)
    elif answer.status in _NOT_THERE and api.gone is not None:
        ended = api.gone(job, answer, now_us())
    elif answer.status in _NOT_THERE:
        ended = _withdrawn_end(plane, job)
    else:
        return
    if ended is None or job.id in plane.jobs.ending:
        return
    plane.jobs.ending.add(job.id)
    if not ended.results and not ended.ask:
        await _end(plane, job, ended)
        return
    if ended.leaves:  # its client may fetch them before they were read here
        note_leaves(plane, job, ended.leaves)
    task = asyncio.create_task(_end(plane, job, ended))
    plane.jobs.tasks.add(task)
    task.add_done_callback(plane.jobs.tasks.discard)
    if wait:
        await task


def withdraw(plane: Plane, job: Job) -> None:
    """Its owner has deleted or cancelled a job at its provider: what becomes of it is asked at once, behind the caller's back.
    What it says nothing of from now on is over."""
    job = plane.jobs.note(job)
    if job.ended:
        return
    plane.jobs.withdrawn[job.id] = True
    task = asyncio.create_task(ask(plane, job))
    plane.jobs.tasks.add(task)
    task.add_done_callback(plane.jobs.tasks.discard)


def _withdrawn_end(plane: Plane, job: Job) -> Ended | None:
    """The end of a job that is not there any more; None where nobody withdrew it: a provider may have forgotten it."""
    job = plane.jobs.note(job)
    if job.ended or not (job.withdrawn or job.id in plane.jobs.withdrawn):
        return None
    return BY_NAME[job.api].withdrawn(job)


async def _end(plane: Plane, job: Job, ended: Ended) -> None:
    try:
        if ended.ask:
            result = await _result_of(plane, job, ended.ask)
            if result is None:
                return  # nobody knows yet: it is asked again
            ended = result
        if ended.lines:
            priced = await price_lines(plane, job, ended.lines, _end_s(job, ended))
            await end_job(plane, job, ended, priced.cost, priced.reading)
            return
        if not ended.results:
            await end_job(plane, job, ended)
            return
        read = await _priced(plane, job, ended)
        if read is not None:
            await end_job(plane, job, ended, read.cost, read.reading)
        elif (ended.reading is not None and ended.reading.source != "none") or now_s() > job.deadline_at / 1e6:
            await end_job(plane, job, ended)
    finally:
        plane.jobs.ending.discard(job.id)


async def _result_of(plane: Plane, job: Job, path: str) -> Ended | None:
    """What a job came to, where its status does not say."""
    api = BY_NAME[job.api]
    destination = destination_of(plane, job.upstream, api)
    if destination is None or api.read_result is None:
        return None
    try:
        async with asyncio.timeout(_ANSWER_S):
            response = await send(plane, destination, api, "GET", path, attempt_id=job.id)
            answer = await _told_of(response, path)
    except (UpstreamError, TimeoutError):
        return None
    if answer is not None and answer.status in _NOT_THERE and (ended := _withdrawn_end(plane, job)) is not None:
        return ended
    return None if answer is None else api.read_result(job, answer)


def _end_s(job: Job, ended: Ended) -> int:
    """When it ended (epoch seconds): between its beginning and now."""
    now = int(now_s())
    return max(min(ended.at_s or now, now), job.created_at // 1_000_000)


async def _priced(plane: Plane, job: Job, ended: Ended) -> Priced | None:
    api = BY_NAME[job.api]
    destination = destination_of(plane, job.upstream, api)
    if destination is None:
        return None

    async def fetch(path: str) -> Response:
        return await send(plane, destination, api, "GET", path, attempt_id=job.id)

    try:
        async with asyncio.timeout(_RESULTS_S):
            return await read_results(plane, job, fetch, ended.results, _end_s(job, ended))
    except (UpstreamError, TimeoutError):
        return None
