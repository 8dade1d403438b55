"""What a data plane that starts waits for where budgets are shared: calls of its earlier lives that Redis may not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from proxy.spool.costs import may_have_cost
from proxy.spool.reader import SpoolReader, runs

_POLL_S = 0.02


def lives_of(worker: str, spool: Path) -> list[str]:
    """What has something in the spool, oldest first by the clock of then."""
    return [run for run in runs(spool) if run[:-37] == worker]


async def earlier_are_told(worker: str, spool: Path, may_go_on: Callable[[], bool]) -> None:
    """Wait until what the earlier lives' calls may have cost is shipped, or `may_go_on`. Whoever refused all calls owes
    nothing."""
    owed = await asyncio.to_thread(_owed, worker, spool)
    while owed.intersection(lives_of(worker, spool)) and not may_go_on():  # noqa: ASYNC110 - the recorder is a thread, what it deletes are files
        await asyncio.sleep(_POLL_S)


def _owed(worker: str, spool: Path) -> set[str]:
    """By their locks, not their names: where a clock was set back, the life that runs comes first."""
    return {run for run in lives_of(worker, spool) if SpoolReader(spool, run).is_over() and may_have_cost(spool, run)}
