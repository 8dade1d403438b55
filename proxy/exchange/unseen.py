"""Calls without an answer, at servers that stop working, and stop billing, when the caller leaves or they break down.

What can be known: the input, counted by the server or here, and for a whole answer an estimate from the time it was worked on,
at the pace of earlier answers. For a stream of which nothing came, nothing was written.
"""

from __future__ import annotations

import asyncio
import math
import time

from pricing.usage import Reading
from proxy.exchange.asking import providers_count
from proxy.exchange.attempt import Attempt
from proxy.exchange.estimated import count
from proxy.meters.reader import requested_by

# Tokens a second, until it is known how many: hardly any server writes one answer faster.
_FASTEST = 300.0


def note_pace(attempt: Attempt, reading: Reading) -> None:
    """How fast an answer was written, its prompt and its waiting included."""
    written = sum(float(reading.usage.get(unit, 0)) for unit in ("output", "reasoning"))
    took_s = time.perf_counter() - attempt.dispatched
    if written and took_s > 0 and reading.source == "provider":
        attempt.exchange.plane.paces[attempt.route.upstream, attempt.route.model] = written / took_s


async def unseen(attempt: Attempt, *, breaks_down: bool) -> Reading:
    """The usage of a call that was sent and of which nothing came.

    breaks_down: the server did, and what it was writing is lost; else its caller left, or waited no longer.
    """
    body, route = attempt.call.body, attempt.route
    written = 0
    if attempt.bound.output_tokens and not attempt.call.stream and not breaks_down:
        pace = attempt.exchange.plane.paces.get((route.upstream, route.model)) or _FASTEST
        most = attempt.bound.output_tokens * attempt.bound.sequences
        written = min(math.ceil(pace * (time.perf_counter() - attempt.dispatched)), most)
    input_tokens = await providers_count(attempt) if not breaks_down else None
    stated = Reading(requested=requested_by(body))
    reading = await asyncio.to_thread(count, stated, [], route.model, body, all_seen=True, input_tokens=input_tokens)
    return reading._replace(usage={**reading.usage, "output": written}) if written else reading
