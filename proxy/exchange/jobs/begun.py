"""The answer to a call that begins a job: its id is on disk, with all that its settlement needs, before the client has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from pricing.cost import Cost
from proxy.access.stored_owners import Holder
from proxy.downstream.address import root_of
from proxy.exchange.jobs.asking import job_digest, seen
from proxy.exchange.jobs.end import end_job
from proxy.exchange.references import note_stored
from proxy.exchange.unary import Unary
from proxy.jobs.api import Answer, Ended, JobEndpoint
from proxy.jobs.job import Job
from proxy.wire import lenient


class Begun(Unary):
    """As any whole answer, but that one which names a job is not settled: the job is, when it ends."""

    held_bytes = 64 * 1024 * 1024  # nothing of it goes out with URLs that lead past this proxy
    _job: Job | None = None

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
            return await self._settle_at_once(ended)
        told = endpoint.api.told(value)
        job = self._job = self._made(endpoint, job_id, told)
        stored = note_stored(self.attempt, (value,), told or None) if endpoint.holds(self.attempt.call) else ()
        self.attempt.become(job, stored, told or None)
        plane, route = self.exchange.plane, self.attempt.route
        before = plane.jobs.by_digest.get(job.digest) if endpoint.renews else None
        plane.jobs.note(job)
        if before is not None and endpoint.api.followed is not None and not before.ended:
            await end_job(plane, before, endpoint.api.followed(before, job))
        plane.stored_owners.note(
            (job.digest,), Holder(route.upstream, route.requested, self.exchange.attribution.session_id)
        )
        await seen(plane, job, answer)  # some are done at once
        return None

    async def _settle_at_once(self, ended: Ended) -> Cost | None:
        """What was made while its client waited."""
        if ended.reading is None:
            await self.settle_unknown(ended.outcome)
            return None
        return await self.settle(ended.reading, ended.outcome)

    def _made(self, endpoint: JobEndpoint, job_id: str, told: Mapping[str, Any]) -> Job:
        attempt, plan = self.attempt, self.attempt.plan
        intent: Any = attempt.intent_record()
        return Job(
            id=attempt.id,
            api=endpoint.api.name,
            digest=job_digest(self.exchange.identity, endpoint.api, job_id),
            provider_id=job_id,
            created_at=plan.started_at,
            deadline_at=plan.deadline_at,
            asked={**endpoint.facts, **endpoint.api.asked(attempt.call), **told},
            attributes=dict(plan.attributes),
            intent=intent,
            flags=("budget_unverified",) if attempt.unverified else (),
        )


def _object_of(body: bytes) -> Mapping[str, Any]:
    return next((value for value in lenient.answer(body).values if isinstance(value, dict)), {})
