"""Jobs that nobody asks for: a provider that does not answer holds up no other's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.dataplane.jobs import Poller

_IN_TIME_S = 20


def _row(number: int, upstream: str, *, ended: bool = False) -> dict[str, Any]:
    return {"id": f"{upstream}-{number}", "upstream": upstream, "ended": ended}


class _Ledger:
    """Hands out each round of rows once, and then none."""

    def __init__(self, *rounds: Sequence[Mapping[str, Any]]) -> None:
        self.rounds = list(rounds)
        self.answered: list[str] = []

    async def due(self, question: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        self.answered += question["answered"]
        return self.rounds.pop(0) if self.rounds else ()


def _poller(ledger: _Ledger) -> Poller:
    jobs = SimpleNamespace(
        note_row=lambda row: SimpleNamespace(id=row["id"], upstream=row["upstream"]),
        asked_at={}, withdrawn=SimpleNamespace(first=lambda _: []),
    )  # fmt: skip
    plane: Any = SimpleNamespace(
        ready=True, jobs=jobs, configured=SimpleNamespace(config=SimpleNamespace(jobs=SimpleNamespace(poll_s=0.2)))
    )
    return Poller(plane, ledger.due)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.dataplane.jobs._PATIENCE_S", 0.01)


async def test_a_provider_that_does_not_answer_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    silent, heard = asyncio.Event(), asyncio.Event()
    asked: list[str] = []

    async def ask(_: object, job: Any) -> bool:
        asked.append(job.id)
        if job.upstream == "silent":
            await silent.wait()
        else:
            heard.set()
        return True

    monkeypatch.setattr("proxy.dataplane.jobs.ask", ask)
    first = [_row(number, "silent") for number in range(64)]
    # A job that is still being asked for is due again meanwhile.
    ledger = _Ledger(first, [*first[:32], _row(64, "silent"), _row(0, "well", ended=True)])
    running = asyncio.create_task(_poller(ledger).run())
    async with asyncio.timeout(_IN_TIME_S):
        await heard.wait()
        while not ledger.answered:
            await asyncio.sleep(0.01)
    assert ledger.answered == ["well-0"]
    assert asked == [*(f"silent-{number}" for number in range(16)), "well-0"]  # no more of one provider at once
    silent.set()
    async with asyncio.timeout(_IN_TIME_S):
        while len(asked) < 65:
            await asyncio.sleep(0.01)
    assert sorted(asked) == sorted([*(row["id"] for row in first), "well-0"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_one_job_s_trouble_is_not_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both = asyncio.Event()

    async def ask(_: object, job: Any) -> bool:
        if job.id == "a-0":
            raise ValueError("odd")
        both.set()
        return True

    monkeypatch.setattr("proxy.dataplane.jobs.ask", ask)
    running = asyncio.create_task(_poller(_Ledger([_row(0, "a")], [_row(1, "a")])).run())
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(_IN_TIME_S):
            await both.wait()
    assert "could not be asked for it; it is asked again" in caplog.text
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_who_stops_asks_nobody_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def ask(*_: object) -> bool:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return True

    monkeypatch.setattr("proxy.dataplane.jobs.ask", ask)
    running = asyncio.create_task(_poller(_Ledger([_row(0, "a")])).run())
    async with asyncio.timeout(_IN_TIME_S):
        await begun.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert stopped.is_set()
