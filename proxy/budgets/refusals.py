"""What a refused client is told: which budget, what it allows, what is spent, when it resets. Pure.

Statuses follow what real clients do with them (docs/clients.md#refusals): a 402 with `x-should-retry: false` makes the SDKs
and agent CLIs stop at once and show the message, but Codex needs its own 429 to do the same, and aider these words.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from proxy.budgets.store import Standing
from proxy.errors import Refusal
from proxy.money import usd_text

# aider 0.86.2 (aider/exceptions.py) asks again and again, but where the error's text has both of these; it tells itself by no
# header, so that whoever uses OpenAI's SDK for Python gets them too. Tried 2026-11-29: 8 requests in 32 s without, 1 with them.
_FOR_AIDER = ' (insufficient credits, "code":402)'
_AIDER_S_SDKS = frozenset({"openai-python", "litellm"})
# The type by which async-openai 0.43 knows a 429 as final; at any other it sleeps until `Retry-After`, if that is next month.
_FINAL = "insufficient_quota"
_SHORT_S = 60  # what a client may well wait for by itself


def exceeded(standing: Standing, ceiling: int, now_s: float, *, client: str, status: int) -> Refusal:
    """The call would not fit even with nothing in flight. `ceiling` is in the budget's measure."""
    wait = None if standing.window_end is None else max(1, math.ceil(standing.window_end - now_s))
    if standing.measure != "usd":
        final = wait is None or wait > _SHORT_S
        return Refusal(
            429, "rate_limit_exceeded", _message(standing, ceiling), kind=_FINAL if final else "rate_limit_exceeded",
            retry_after_s=wait, final=final, **_counter(standing),
        )  # fmt: skip
    if client == "codex":
        detail = {"resets_at": standing.window_end}
        return Refusal(
            429, "usage_limit_reached", _message(standing, ceiling), kind="usage_limit_reached", retry_after_s=wait,
            final=True, **_counter(standing), detail=detail,
        )  # fmt: skip
    message = _message(standing, ceiling)
    if status == 402 and client in _AIDER_S_SDKS:
        message += _FOR_AIDER
    return Refusal(
        status, "budget_exceeded", message, kind=_FINAL, retry_after_s=wait,
        final=True, **_counter(standing), detail={"budget": _facts(standing)},
    )  # fmt: skip


def busy(standing: Standing, ceiling: int) -> Refusal:
    """Only reservations in flight are in the way, and they did not end within `busy_wait_s`."""
    message = f"{_message(standing, ceiling)} Calls in flight hold the rest; try again shortly."
    return Refusal(
        429, "budget_busy", message, kind="rate_limit_exceeded", retry_after_s=1, **_counter(standing),
        detail={"budget": _facts(standing)} if standing.measure == "usd" else {},
    )  # fmt: skip


def _counter(standing: Standing) -> dict[str, Any]:
    """Which counter said no."""
    return {"budget": standing.budget, "group": standing.group, "window_start": standing.window_start}


def _facts(standing: Standing) -> dict[str, object]:
    return {
        "name": standing.budget,
        "limit_usd": usd_text(standing.limit),
        "spent_usd": usd_text(standing.spent),
        "reserved_usd": usd_text(standing.reserved),
        "resets_at": standing.window_end,
    }


def _message(standing: Standing, ceiling: int) -> str:
    group = f" ({standing.group})" if standing.group else ""
    until = ""
    if standing.window_end is not None:
        until = f" It resets at {datetime.fromtimestamp(standing.window_end, UTC):%Y-%m-%d %H:%M} UTC."
    if standing.measure == "usd":
        left = max(0, standing.limit - standing.spent)
        return (
            f"Budget {standing.budget}{group}: ${usd_text(left)} of ${usd_text(standing.limit)} left, "
            f"and this call can cost up to ${usd_text(ceiling)}.{until}"
        )
    left = max(0, standing.limit - standing.spent)
    return (
        f"Limit {standing.budget}{group}: {left} of {standing.limit} {standing.measure} left, "
        f"and this call can take up to {ceiling}.{until}"
    )
