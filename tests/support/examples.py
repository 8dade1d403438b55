"""How many random examples a property is tried with: few each time, other ones each time; `EXAMPLES=10` tries ten times as many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_TIMES = int(os.environ.get("EXAMPLES", "1"))


def examples(count: int) -> settings:
    """Decorates a `@given` test. What its fixtures make stays the same from example to example."""
    return settings(max_examples=count * _TIMES, deadline=None, suppress_health_check=list(HealthCheck))
