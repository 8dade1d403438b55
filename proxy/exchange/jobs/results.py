"""A batch's results, read line by line as they come: each line is priced by itself, as a call of its own would be.

So the sum of many short calls does not pass for one with a long context, and lines of several models cost what each does. A
line that was answered without a usage is charged its share of the batch's reservation. In bounded memory: of the lines only
sums are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

import orjson

from pricing.cost import Cost, CostLine, Rate
from pricing.money import to_nanousd
from pricing.usage import Quantity, Reading, UsageSource
from proxy.exchange.plane import Plane
from proxy.jobs.api import Results
from proxy.jobs.job import Job
from proxy.upstream.inflated import plain
from proxy.upstream.response import Response, UpstreamError

_LINES_AT_ONCE = 20
_MAX_LINE_BYTES = 64 * 1024 * 1024

Key = tuple[str, Decimal, int, str | None, str | None]


class Priced(NamedTuple):
    """What results come to. lines: how many there are; None in place of it all: they are cut short."""

    reading: Reading
    cost: Cost
    lines: int


class Sums:
    """What the lines of results come to, by unit, price and model."""

    def __init__(self, plane: Plane, job: Job, at_s: int) -> None:
        self._book = plane.configured.book
        self._job = job
        self._at_s = at_s
        self._sums: dict[Key, list[Quantity]] = {}
        self._usage: dict[str, Quantity] = {}
        self._flags: dict[str, None] = {}
        self._statuses: set[str] = set()
        self._version = ""
        self._unknown = 0
        self.lines = 0

    def add(self, reading: Reading) -> None:
        if reading.source == "none" and not reading.usage and not reading.parts and self._job.reserved_nanousd:
            self._unknown += 1
            return
        route = self._job.route
        cost = self._book.cost(
            reading, provider=route.provider, model=route.model, at_s=self._at_s, attributes=self._job.attributes
        )
        self._statuses.add(cost.status)
        self._flags |= dict.fromkeys(cost.flags)
        self._version = cost.price_version
        for line in cost.lines:
            key = (line.unit, line.price_usd, line.per, line.model or cost.model, line.source)
            known = self._sums.setdefault(key, [0, Decimal(0)])
            known[0] += line.quantity
            known[1] += line.cost_usd
        for usage in (reading.usage, *[part.usage for part in reading.parts]):
            for unit, quantity in usage.items():
                self._usage[unit] = self._usage.get(unit, 0) + quantity

    def priced(self) -> Priced:
        lines = tuple(
            CostLine(Rate(unit, price, per, source), quantity, Decimal(cost), model)
            for (unit, price, per, model, source), (quantity, cost) in self._sums.items()
        )
        if self._unknown:
            lines += (self._shares(),)
            self._flags["estimated"] = None
        total = sum((line.cost_usd for line in lines), Decimal(0))
        unpriced = self._statuses - {"priced"}
        cost = Cost(
            status="partial" if unpriced and lines else "unpriced" if unpriced else "priced",
            lines=lines,
            cost_usd=None if unpriced else total,
            cost_nanousd=None if unpriced else to_nanousd(total),
            source="computed",
            provider_reported_cost_usd=None,
            flags=tuple(self._flags),
            price_version=self._version or self._book.version,
            model=self._job.model,
        )
        source: UsageSource = "estimated" if self._unknown else "provider"
        return Priced(Reading(usage=self._usage, source=source, flags=tuple(self._flags)), cost, self.lines)

    def _shares(self) -> CostLine:
        """The share that the lines without a usage have of the reservation."""
        each = Decimal(self._job.reserved_nanousd or 0).scaleb(-9) / max(self.lines, self._unknown)
        rate = Rate("reported", each, 1, "share of the reservation")
        return CostLine(rate, self._unknown, each * self._unknown, self._job.model)


async def price_lines(plane: Plane, job: Job, lines: Sequence[Reading], at_s: int) -> Priced:
    """What lines that are read already come to."""
    sums = Sums(plane, job, at_s)
    sums.lines = len(lines)
    for number, reading in enumerate(lines, 1):
        sums.add(reading)
        if number % _LINES_AT_ONCE == 0:
            await asyncio.sleep(0)  # calls go on meanwhile
    return sums.priced()


async def read_results(
    plane: Plane, job: Job, fetch: Callable[[str], Awaitable[Response]], results: Sequence[Results], at_s: int
) -> Priced | None:
    """What the results come to; None where they are not to be had whole. fetch: asks for a path."""
    sums = Sums(plane, job, at_s)
    for part in results:
        response = await fetch(part.path)
        if response.status != 200:
            response.abort()
            return None
        before = sums.lines
        try:
            async for line in _lines(response):
                sums.lines += 1
                value = orjson.loads(line)
                reading = part.line(job, value) if isinstance(value, dict) else None
                if reading is not None:
                    sums.add(reading)
                if sums.lines % _LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)  # calls go on meanwhile
        except (UpstreamError, orjson.JSONDecodeError):
            return None
        if part.at_least is not None and sums.lines - before < part.at_least:
            return None
    return sums.priced()


async def _lines(response: Response) -> AsyncIterator[bytes]:
    body, rest = plain(response), [b""]
    size = 0
    while data := await body.read():
        *whole, last = data.split(b"\n")
        for line in whole:
            rest.append(line)
            joined = b"".join(rest)
            if joined.strip():
                yield joined
            rest, size = [], 0
        rest.append(last)
        size += len(last)
        if size > _MAX_LINE_BYTES:
            response.abort()
            raise UpstreamError("protocol", "a line of the results is too long", sent=True)
    if (joined := b"".join(rest)).strip():
        yield joined
