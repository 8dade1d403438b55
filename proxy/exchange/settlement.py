"""How an attempt ends that was sent: what it used, what that costs, and the record of it. Values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import orjson

from pricing.book import Book
from pricing.cost import Cost, CostLine
from pricing.money import to_nanousd
from pricing.usage import Reading
from pricing.values import NOTHING, Value, frozen
from proxy.spool import cost_lines, records
from proxy.times import now_us
from proxy.types import Route

UNEXPECTED_MODEL = "unexpected_model"
# What SETTLEs have in common, as it is written: so many kinds of it are remembered, but for those with a longer model's name.
_MOST_KNOWN, _SHORT_NAME = 512, 200


@frozen
class Timings(Value):
    """Milliseconds. ttft: to the first byte of a stream; itl_ms_sum: between its `itl_count + 1` pieces."""

    duration_ms: float
    overhead_ms: float
    ttft_ms: float | None = None
    itl_ms_sum: float | None = None
    itl_count: int = 0


@frozen
class Settlement(Value):
    """`cost` None: nothing could be read, the ceiling is charged (`unconfirmed`). stored: digests of what the call left at
    the provider, for as long as that keeps it; stored_facts: what has to be known of it.
    lines: what is known of the cost where that is not all of it."""

    outcome: str
    http_status: int | None
    reading: Reading
    cost: Cost | None
    ended_at: int
    timings: Timings
    upstream_request_id: str | None = None
    stored: Sequence[str] = ()
    lines: Sequence[CostLine] = ()
    stored_facts: Mapping[str, Any] | None = None


@frozen
class Charged(Value):
    """The attempt that a settlement charges. flags: beside those of the reading and its price. more: other keys."""

    attempt_id: str
    route: Route
    reserved_nanousd: int | None
    budgets: records.Amounts
    flags: tuple[str, ...] = ()
    more: Mapping[str, Any] = NOTHING


def charge(
    book: Book,
    route: Route,
    endpoint: str,
    attributes: Mapping[str, str | None],
    reading: Reading,
    at_us: int | None = None,
) -> Cost:
    """What a reading costs that is complete at `at_us` (None: now); flagged where a model answered that may not."""
    at_s = (now_us() if at_us is None else at_us) // 1_000_000
    if route.answers is not None and not _is_expected(book, route, reading, at_s):
        reading = reading._replace(flags=(*reading.flags, UNEXPECTED_MODEL))
    return book.cost(
        reading,
        provider=route.provider,
        model=route.model,
        at_s=at_s,
        endpoint=endpoint,
        attributes=attributes,
    )


def _is_expected(book: Book, route: Route, reading: Reading, at_s: int) -> bool:
    """Whether the model that answered is among those that may; one that does not say who it is does."""
    served = reading.model
    return not served or any(book.catalog.answers_to(route.provider, served, model, at_s) for model in route.models)


def unconfirmed(outcome: str, http_status: int | None, timings: Timings) -> Settlement:
    """A settlement that charges the whole ceiling: it may have been billed, and nobody knows how much."""
    return Settlement(outcome, http_status, Reading(), None, now_us(), timings)


def settle_record(settlement: Settlement, charged: Charged) -> records.Settle:
    """The SETTLE record: what the recorder joins to the INTENT."""
    return cast(records.Settle, _of_this_call(settlement, charged) | _of_all_like_it(_alike(settlement, charged)))


def settle_bytes(settlement: Settlement, charged: Charged) -> bytes:
    """The record, written."""
    alike = _alike(settlement, charged)
    like_it = (_written if len(alike[3]) <= _SHORT_NAME else _written.__wrapped__)(alike)
    return orjson.dumps(_of_this_call(settlement, charged), str)[:-1] + like_it


def _of_this_call(settlement: Settlement, charged: Charged) -> dict[str, Any]:
    reading, cost, timings = settlement.reading, settlement.cost, settlement.timings
    implausible = "implausible" in reading.flags  # kept for a person, never added up
    record: dict[str, Any] = {
        "t": "settle",
        "id": charged.attempt_id,
        "ended_at": settlement.ended_at,
        "usage": {} if implausible else reading.usage,
        "cost_nanousd": cost.cost_nanousd if cost else charged.reserved_nanousd,
        "budgets": charged.budgets,
        "duration_ms": timings.duration_ms,
        "overhead_ms": timings.overhead_ms,
    }
    if implausible:
        record["told_usage"] = reading.usage
    if timings.ttft_ms is not None:
        record["ttft_ms"] = timings.ttft_ms
    if timings.itl_count:
        record["itl_ms_sum"], record["itl_count"] = timings.itl_ms_sum, timings.itl_count
    if settlement.upstream_request_id is not None:
        record["upstream_request_id"] = settlement.upstream_request_id
    if charged.more:
        record |= charged.more
    if settlement.stored:
        record["stored"], record["stored_model"] = settlement.stored, charged.route.requested
        if settlement.stored_facts is not None:
            record["stored_facts"] = settlement.stored_facts
    if cost is not None and cost.provider_reported_cost_usd is not None:
        record["provider_cost_nanousd"] = to_nanousd(cost.provider_reported_cost_usd)
    # Last: the recorder takes them off from there.
    if lines := cost.lines if cost is not None else settlement.lines:
        record["cost_lines"] = orjson.Fragment(cost_lines.written(lines))
    return record


_Alike = tuple[str, str, int | None, str, str | None, str, str, tuple[str, ...], str | None]


def _alike(settlement: Settlement, charged: Charged) -> _Alike:
    """What `_of_all_like_it` hangs on."""
    reading, cost = settlement.reading, settlement.cost
    tier = reading.conditions.get("service_tier")
    if cost is None:
        status, model, source, flags, version = "unconfirmed", reading.model, "computed", reading.flags, None
    else:
        status, model, source, flags, version = "settled", cost.model, cost.source, cost.flags, cost.price_version
        tier = tier or cost.requested.get("service_tier")
    return (
        status, settlement.outcome, settlement.http_status, model or reading.model or charged.route.model, tier, reading.source,
        source, (*flags, *charged.flags), version,
    )  # fmt: skip


@lru_cache(maxsize=_MOST_KNOWN)
def _written(alike: _Alike) -> bytes:
    return b"," + orjson.dumps(_of_all_like_it(alike))[1:]


def _of_all_like_it(alike: _Alike) -> dict[str, Any]:
    """What many calls say alike: it is written once, and the recorder reads it once for all of them."""
    status, outcome, http_status, model, service_tier, usage_source, cost_source, flags, price_version = alike
    record = {
        "status": status,
        "outcome": outcome,
        "http_status": http_status,
        "model": model,
        "service_tier": service_tier,
        "usage_source": usage_source,
        "cost_source": cost_source,
        "flags": flags,
    }
    if price_version is not None:
        record["price_version"] = price_version
    return record
