"""The answer to a call that begins a job: its id is on disk, with all that its settlement needs, before the client has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from pricing.cost import Cost
from pricing.usage import Reading
from proxy.access.stored_owners import Holder
from proxy.downstream.address import root_of
from proxy.exchange.attempt import Attempt
from proxy.exchange.jobs.asking import job_digest, seen
from proxy.exchange.jobs.end import end_job
from proxy.exchange.references import note_stored
from proxy.exchange.unary import Unary
from proxy.jobs.api import Answer, Ended, JobEndpoint
from proxy.jobs.job import Job
from proxy.meters.reading_builder import IMPLAUSIBLE_COUNT, number
from proxy.meters.recordings import seconds_of
from proxy.upstream.inflated import Inflated
from proxy.upstream.response import Response
from proxy.wire import lenient


class Begun(Unary):
    """As any whole answer, but that one which names a job is not settled: the job is, when it ends."""

    held_bytes = 64 * 1024 * 1024  # nothing of it goes out with URLs that lead past this proxy
    _job: Job | None = None

    def __init__(self, attempt: Attempt, response: Response, body: Response | Inflated) -> None:
        super().__init__(attempt, response, body)
        endpoint = self.exchange.endpoint
        assert isinstance(endpoint, JobEndpoint)
        if endpoint.passes and response.status == 200:
            self.held_bytes = self.metered_bytes = 0

    def shown(self, body: bytes) -> bytes:
        endpoint = self.exchange.endpoint
        assert isinstance(endpoint, JobEndpoint)
        if self._job is None or endpoint.api.shown is None:
            return body
        public_url = self.exchange.configured.config.server.public_url
        root = root_of(self.client.headers, public_url)
        return orjson.dumps(endpoint.api.shown(_object_of(body), root, self._job.asked))

    async def _settle(self, body: bytes) -> Cost | None:
        endpoint = self.exchange.endpoint
        assert isinstance(endpoint, JobEndpoint)
        value, status = _object_of(body), self.response.status
        job_id = endpoint.api.job_id(value) if status < 300 else None
        headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in self.response.headers}
        answer = Answer(status, value, headers, endpoint.target)
        if job_id is None:
            read = endpoint.api.read_end if status < 300 else endpoint.api.read_result
            ended = read(self._made(endpoint, "", {}), answer) if endpoint.at_once and read is not None else None
            if ended is None:
                return await super()._settle(body)
            return await self._settle_at_once(ended, body)
        facts = endpoint.api.creation_facts(value)
        job = self._job = self._made(endpoint, job_id, facts)
        stored = note_stored(self.attempt, (value,), facts or None) if endpoint.holds(self.attempt.call) else ()
        self.attempt.become(job, stored, facts or None)
        plane, route = self.exchange.plane, self.attempt.route
        before = plane.jobs.by_digest.get(job.digest) if endpoint.renews else None
        plane.jobs.note(job)
        followed = endpoint.api.followed
        if (
            before is not None
            and followed is not None
            and not before.ended
            and (over := followed(before, job)) is not None
        ):
            await end_job(plane, before, over)
        plane.stored_owners.note(
            (job.digest,), Holder(route.upstream, route.requested, self.exchange.attribution.session_id)
        )
        await seen(plane, job, answer)  # some are done at once
        return None

    async def _settle_broken(self, outcome: str, *, timed_out: bool) -> None:
        """What passes on has told its price beforehand."""
        endpoint = self.exchange.endpoint
        assert isinstance(endpoint, JobEndpoint)
        if endpoint.passes and self.response.status == 200:
            headers = {name.decode("latin-1"): text.decode("latin-1") for name, text in self.response.headers}
            ended = endpoint.api.read_end(self._made(endpoint, "", {}), Answer(200, {}, headers, endpoint.target))
            if ended is not None and ended.reading is not None:
                await self.settle(ended.reading, outcome)
                return
        await super()._settle_broken(outcome, timed_out=timed_out)

    async def _settle_at_once(self, ended: Ended, body: bytes) -> Cost | None:
        """What was made while its client waited."""
        reading = ended.reading or await self._measured(body)
        if reading is None or any(count >= IMPLAUSIBLE_COUNT for count in reading.usage.values()):
            await self.settle_unknown(ended.outcome)
            return None
        return await self.settle(reading, ended.outcome)

    async def _measured(self, body: bytes) -> Reading | None:
        """By the length of the recording that was sent, or made, where that is what it is billed by."""
        endpoint, call = self.exchange.endpoint, self.attempt.call
        assert isinstance(endpoint, JobEndpoint)
        if "audio_second" not in call.units:
            return None
        if endpoint.recording == "sent" and call.form is not None:
            body = next((part.data for part in call.form.parts if part.filename is not None), b"")
        elif endpoint.recording != "made":
            return None
        length = await asyncio.to_thread(seconds_of, body) if body else None
        return None if length is None else Reading(usage={"audio_second": number(length) or length}, source="estimated")

    def _made(self, endpoint: JobEndpoint, job_id: str, facts: Mapping[str, Any]) -> Job:
        attempt, plan = self.attempt, self.attempt.plan
        intent: Any = attempt.intent_record()
        return Job(
            id=attempt.id,
            api=endpoint.api.name,
            digest=job_digest(self.exchange.identity, endpoint.api, job_id),
            provider_id=job_id,
            created_at=plan.started_at,
            deadline_at=plan.deadline_at,
            asked={**endpoint.facts, **endpoint.api.request_facts(attempt.call), **facts},
            attributes=dict(plan.attributes),
            intent=intent,
            flags=("budget_unverified",) if attempt.unverified else (),
        )


def _object_of(body: bytes) -> Mapping[str, Any]:
    return next((value for value in lenient.answer(body).values if isinstance(value, dict)), {})
