"""When a call is tried again, where, and after how long. Pure: chance is an argument.

Only a call of which the client has got no byte yet is tried again. Every try is an attempt of its own, with its own INTENT,
reservation and entry, at its own model's price.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pricing.values import Value, frozen
from proxy.errors import Refusal
from proxy.types import Route

# Statuses that another try may mend (529: Anthropic's overload).
RETRIED = frozenset({408, 429, 500, 502, 503, 504, 529})
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_LONGEST_WISH_S = 10.0  # an upstream that wants to be left alone for longer is left alone


class Failure(NamedTuple):
    """What an attempt came to, for the client, should no other do better: an upstream's whole answer, or our refusal."""

    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    refusal: Refusal | None = None

    @property
    def retry_after_s(self) -> float | None:
        """What the upstream asked for, in seconds; dates are not understood."""
        for name, value in self.headers:
            if name == b"retry-after":
                try:
                    return max(0.0, float(value))
                except ValueError:
                    return None
        return None


@frozen
class Turn(Value):
    """One try: where, and how often this route has been tried before."""

    route: Route
    earlier: int


def schedule(route: Route, named: Callable[[str], Route], *, follow: bool) -> list[Turn]:
    """The tries of a call, in order: the route as often as it says, then (`follow`) its fallbacks, each as often as it says.

    A fallback's own fallbacks are not followed. named: the route of a model by its name in the configuration.
    """
    if not route.retries and not route.fallbacks:
        return [Turn(route, 0)]
    routes = [route, *(named(name) for name in route.fallbacks if follow)]
    return [Turn(one, earlier) for one in routes for earlier in range(1 + one.retries)]


def pause_s(failure: Failure, turn: Turn, chance: float) -> float | None:
    """How long to wait before `turn`; None where it is not worth it, for that upstream wants to be left alone for longer.

    Twice as long each time, and by `chance` (0 to 1) up to half less, so that many callers do not come back as one.
    """
    if not turn.earlier:
        return 0.0
    wish = failure.retry_after_s
    if wish is not None:
        return wish if wish <= _LONGEST_WISH_S else None
    longest: float = min(_FIRST_PAUSE_S * 2 ** (turn.earlier - 1), _LONGEST_PAUSE_S)
    return longest * (1 - chance / 2)
