"""A job's end, seen by whoever asked: what it used is priced, and it is settled once, or corrected.

Two that see the same end at once, in one process or in two, write the same record twice: the ledger takes one of them, by the
job's revision, and the budget store charges an id once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import orjson

from pricing.cost import Cost
from pricing.usage import Reading
from proxy.access.stored_owners import Holder, digest
from proxy.budgets.budget import Amounts, Budget, window_at
from proxy.budgets.store import REMEMBERED_S, StoreUnavailable
from proxy.exchange.plane import Plane
from proxy.exchange.settlement import Charged, Settlement, Timings, settle_record
from proxy.ids import correction_id
from proxy.jobs.api import Ended
from proxy.jobs.apis import BY_NAME
from proxy.jobs.job import Job
from proxy.jobs.machine import RUNNING, after
from proxy.meters.reading_builder import MAX_COUNT
from proxy.times import now_s, now_us
from proxy.types import Claim

log = logging.getLogger("taximeter.jobs")

_MOST_NANOUSD = 2**53  # as the ledger sums up
_SURE_S = 3600  # so long before an expired reservation is forgotten nobody relies on it any more
_NONE: frozenset[str] = frozenset()


async def end_job(
    plane: Plane, job: Job, ended: Ended, cost: Cost | None = None, reading: Reading | None = None
) -> Job:
    """Settle or correct `job` with its end; as it is then. cost, reading: of its results, where it has any.

    Without them the cost is that of `ended.reading`.
    """
    job = plane.jobs.note(job)
    reading = reading or ended.reading
    if cost is None and reading is not None and reading.source != "none":
        cost = _cost(plane, job, reading, ended.at_s)
    if cost is not None and cost.status != "priced" and (cost.cost_nanousd or 0) < (job.reserved_nanousd or 0):
        cost = None  # reserved as money, and back in units that have no price: not free for all that
    if not _is_plausible(cost, reading):
        cost = reading = None
    step = after(
        job.state,
        "ended" if cost is not None else "ended_unknown",
        same_cost=cost is not None and cost.cost_nanousd == job.cost_nanousd,
    )
    if step.action == "nothing":
        return job
    amounts = _amounts(plane, job, cost, reading)
    leaves = note_leaves(plane, job, ended.leaves)
    _write(plane, job, ended, cost, reading or Reading(), amounts, leaves)
    settled = job._replace(
        state=step.state, ended=True, revision=job.revision + 1, settled=amounts,
        cost_nanousd=job.reserved_nanousd if cost is None else cost.cost_nanousd,
    )  # fmt: skip
    plane.jobs.note(settled)
    try:
        await _tell(plane, job, amounts)
    except StoreUnavailable:
        log.warning("the budget store could not be told of the end of job %s; it is told later", job.id)
    more = (settled.cost_nanousd or 0) - (job.cost_nanousd or 0)
    if more:
        await plane.add_to_session(job.intent["team"], job.intent["root_session_id"], more)
    return settled


def _is_plausible(cost: Cost | None, reading: Reading | None) -> bool:
    """Whether a record can hold it; what a provider says beyond that is nonsense, and nobody knows what the job cost."""
    counts = () if reading is None else reading.usage.values()
    return abs(0 if cost is None else cost.cost_nanousd or 0) <= _MOST_NANOUSD and max(counts, default=0) <= MAX_COUNT


def _cost(plane: Plane, job: Job, reading: Reading, at_s: int | None) -> Cost:
    """Priced by the prices of the day on which it ended, which lies between its beginning and now."""
    now = int(now_s())
    at_s = now if at_s is None else max(min(at_s, now), job.created_at // 1_000_000)
    route = job.route
    return plane.configured.book.cost(
        reading, provider=route.provider, model=route.model, at_s=at_s, attributes=job.attributes
    )


def _amounts(plane: Plane, job: Job, cost: Cost | None, reading: Reading | None) -> list[int]:
    """What each budget of its INTENT is charged with."""
    taken = job.intent["budgets"]
    if cost is None:
        return [int(item[4]) for item in taken]
    named = {budget.name: budget for budget in plane.configured.budgets.budgets}
    requests = 1 if job.intent["attempt"] == 1 else 0
    used = Amounts(cost.cost_nanousd, reading.usage if reading is not None else {}, requests)
    amounts = []
    for name, _, _, measure, _ in taken:
        budget: Budget | None = named.get(name)
        amounts.append(used.of(measure, budget.units if budget is not None else _NONE))
    return amounts


def note_leaves(plane: Plane, job: Job, ids: Sequence[str]) -> Sequence[str]:
    """What it left at its provider is its team's; digests for the ledger."""
    digests = [digest(job.owner, one) for one in ids]
    if digests:
        route = job.route
        plane.stored_owners.note(digests, Holder(route.upstream, route.requested, job.intent["session_id"]))
    return digests


def _write(
    plane: Plane,
    job: Job,
    ended: Ended,
    cost: Cost | None,
    reading: Reading,
    amounts: Sequence[int],
    leaves: Sequence[str],
) -> None:
    now = now_us()
    settlement = Settlement(
        outcome=ended.outcome,
        http_status=200,
        reading=reading,
        cost=cost,
        ended_at=now,
        timings=Timings((now - job.created_at) / 1000, 0.0),
        stored=leaves,
    )
    budgets = [[*item[:4], amount] for item, amount in zip(job.intent["budgets"], amounts, strict=True)]
    charged = Charged(job.id, job.route, job.reserved_nanousd, budgets, tuple(job.flags))
    record = settle_record(settlement, charged)
    record["overhead_ms"] = None
    jobs = plane.configured.config.jobs
    record["job"] = {**job.record(), "recheck_s": jobs.recheck_s if BY_NAME[job.api].changes_later else None}
    if plane.store.epoch:
        record["epoch"] = plane.store.epoch
    plane.spool.append_end(orjson.dumps(record, default=str))


async def _tell(plane: Plane, job: Job, amounts: Sequence[int]) -> None:
    """Charge the budgets. Each id is charged once, whoever is told: a running job's own, a change's one of its own."""
    claims = claims_of(plane, job)
    if not claims:
        return
    store = plane.store
    if now_s() < job.deadline_at / 1e6 + REMEMBERED_S - _SURE_S:
        if job.state == RUNNING:
            await store.charge(job.id, claims, amounts)
            return
        # An expired reservation is remembered for a day. A shared store that does not know it was told by another, or has
        # its ceiling in sums that it was rebuilt from: rather too much is counted there than too little.
        if not job.ended and (await store.settle(job.id, amounts) is not None or store.epoch):
            return
    more = [now - was for now, was in zip(amounts, _charged(job), strict=True)]
    await store.charge(correction_id(job.id, job.revision), claims, more)


def _charged(job: Job) -> Sequence[int]:
    """What its budgets are charged with by now; the ceiling, where its deadline is over."""
    return job.settled or [int(item[4]) for item in job.intent["budgets"]]


def claims_of(plane: Plane, job: Job) -> list[Claim]:
    """The counters that it counts in, as they are configured now."""
    named = {budget.name: budget for budget in plane.configured.budgets.budgets}
    now, claims = now_s(), []
    for name, group, start, measure, amount in job.intent["budgets"]:
        budget = named.get(name)
        end = None if budget is None else window_at(budget.window, start, budget.zone)[1]
        limit = 0 if budget is None else budget.limit_for(group, now)
        claims.append(Claim(name, group, start, end, limit, int(amount), measure))
    return claims
