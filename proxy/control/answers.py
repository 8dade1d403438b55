"""Answers to data planes' questions that only the ledger can answer; None where its database does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.config.model import Config
from proxy.ledger.beside.jobs import find_jobs, take_due
from proxy.ledger.beside.stored import find_stored
from proxy.times import now_us

Question = Mapping[str, Any]
Answer = Callable[[Question], Awaitable[Any]]


def answers(engine: Engine, config: Callable[[], Config]) -> dict[str, Answer]:
    """By the question's name: sessions (where they stand, what their trees cost), stored (where what is stored at providers
    is), groups (what budgets' groups have spent), jobs (by their digests), jobs_due (whose providers are to be asked now)."""
    return {
        "sessions": _asking(lambda question: _sessions(engine, question["names"])),
        "groups": _asking(lambda question: _groups(engine, question["groups"])),
        "stored": _asking(lambda question: find_stored(engine, question["digests"])),
        "jobs": _asking(lambda question: find_jobs(engine, question["digests"])),
        "jobs_due": _asking(
            lambda question: take_due(
                engine,
                now_us(),
                question["most"],
                config().jobs.poll_s,
                question.get("answered", ()),
                question.get("withdrawn", ()),
            )
        ),
    }


def _sessions(engine: Engine, names: Any) -> Any:
    from proxy.reports.one_session import recalled  # noqa: PLC0415 - nobody asks before calls are served

    return recalled(engine, names)


def _groups(engine: Engine, groups: Any) -> Any:
    from proxy.control.dropping import recalled  # noqa: PLC0415 - most have their budgets in memory

    return recalled(engine, groups)


def _asking(look: Callable[[Question], Any]) -> Answer:
    async def answer(question: Question) -> Any:
        try:
            return await asyncio.to_thread(look, question)
        except SQLAlchemyError:
            return None

    return answer
