"""Dates in price files: `2026-12-01` is 00:00 UTC of that day; times carry their zone."""

from __future__ import annotations

import datetime as dt


def epoch_s(moment: str | dt.date | None, default: int) -> int:
    """Epoch seconds of a date (00:00 UTC) or a time; one without a zone is UTC. Raises ValueError on other text."""
    if moment is None:
        return default
    if isinstance(moment, str):
        moment = dt.datetime.fromisoformat(moment)
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day, tzinfo=dt.UTC)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def date_text(at_s: int) -> str:
    """A date where the moment is midnight UTC, else the time."""
    moment = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return f"{moment:%Y-%m-%d}" if at_s % 86_400 == 0 else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
