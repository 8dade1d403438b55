"""How many random examples a property is tried with: few each time, other ones each time; `EXAMPLES=10` tries ten times as many,
`EXAMPLES=0.2` (as `make quick`) a fifth."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_TIMES = float(os.environ.get("EXAMPLES", "1"))


def tried(count: int) -> int:
    """How many in place of `count`."""
    return max(1, round(count * _TIMES))


def examples(count: int) -> settings:
    """Decorates a `@given` test. What its fixtures make stays the same from example to example."""
    return settings(max_examples=tried(count), deadline=None, suppress_health_check=list(HealthCheck))
