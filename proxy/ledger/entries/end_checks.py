"""Whether what an end says beside its row is what the tables of jobs and of stored things can hold. Pure.

Each raises ValueError: then the record is kept for a person, and its attempt charged at its ceiling.
"""

from __future__ import annotations

from typing import Any

from proxy.jobs.job import Job
from proxy.jobs.machine import RUNNING
from proxy.ledger.entries.row_checks import MOST, MOST_NAME_CHARS
from proxy.spool.records import Settle

_TEXT = ("id", "api", "digest", "provider_id")
_INDEXED = ("id", "api", "digest")
_TIMES = ("created_at", "deadline_at")
_OBJECTS = ("asked", "attributes", "intent")
_LONGEST_S = 10**9

ENDS_NOTHING = (RUNNING, "void")
"""What the status of a SETTLE is never: a call that it ended would be in no sum."""


def check_end(end: Settle) -> None:
    """A SETTLE of a call, or of a job."""
    status = end.get("status")
    if status in ENDS_NOTHING or (isinstance(status, str) and len(status) > MOST_NAME_CHARS):
        raise ValueError(status)
    flags = end.get("flags") or []
    if type(flags) is not list or not all(isinstance(flag, str) for flag in flags):
        raise ValueError("flags")
    check_stored(end)
    if (job := end.get("job")) is not None:
        check_job(job)
    elif end.get("outcome") == "expired":  # which is the end of a reservation, by a record of its own
        raise ValueError("expired")


def check_stored(said: Any) -> None:
    """What a call left at its provider."""
    model, facts = said.get("stored_model"), said.get("stored_facts")
    if not (model is None or _is_text(model)) or not (facts is None or type(facts) is dict):
        raise ValueError("stored")


def check_job(job: Any) -> None:
    """A `proxy.jobs.job.Job` as records have it, and what an end adds to it."""
    if type(job) is not dict:
        raise ValueError("job")
    for name, value in job.items():
        if (
            (name in _TEXT and not _is_text(value))
            or (name in _INDEXED and len(value) > MOST_NAME_CHARS)
            or (name in _TIMES and not _is_count(value))
            or (name in _OBJECTS and type(value) is not dict)
            or (name == "revision" and value is not None and not _is_count(value))
            or (name == "recheck_s" and value is not None and not _is_span(value))
        ):
            raise ValueError(name)
    if missing := [name for name in Job._fields if name not in job and name not in Job._field_defaults]:
        raise ValueError(missing[0])


def _is_text(value: Any) -> bool:
    return type(value) is str and "\x00" not in value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST


def _is_span(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _LONGEST_S
