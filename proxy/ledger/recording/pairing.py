"""Joins the records of one run: each INTENT to its end. Pure: records in, a batch of entries and counts out; what it remembers
are the open INTENTs.

Nothing that a record may say can raise beyond `Pairing`.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections import deque
from collections.abc import Container
from itertools import repeat
from typing import Any

import orjson

from proxy.jobs.machine import RUNNING
from proxy.ledger.entries.attempt_rows import kinds_of
from proxy.ledger.entries.end_checks import check_end, check_job, check_stored
from proxy.ledger.entries.entry import NO_END, Entry, entry_of, plain_entries
from proxy.ledger.entries.row import row_of
from proxy.ledger.entries.row_checks import bounded_amount, is_amount, is_valid
from proxy.ledger.recording.batch import Batch, Lately, Leased, RefusedCall
from proxy.spool import records
from proxy.spool.frames import Position, Record, Records
from proxy.spool.plain import (
    NOTHING,
    Begun,
    Common,
    Ended,
    OfIntent,
    OfSettle,
    between,
    hold_alone,
    is_said,
    lease_of,
    plain_records,
    said_by,
    whole_of,
)

Open = tuple[records.Intent | OfIntent, Common | None, bytes, int, int]
"""An open INTENT, read whole, or plainly with what it has in common with others; its record, and where that begins: the segment
and the byte in it."""
_GRACE_US = 60_000_000  # whoever sweeps overdue reservations has that long to say so


class Pairing:
    """Joins each INTENT of one run to its end.

    done: ends before this position are in the ledger already (a restart reads them again to pair them, not to count them).
    lately: how many of the last ends are remembered, as far as budgets are told of them.
    """

    def __init__(self, instance: str, done: Position, *, lately: int = 0) -> None:
        self._instance = instance
        self._done = done
        self._open: dict[str, Open] = {}
        self._waiting: set[str] = set()
        self._expired: set[str] = set()
        self._unused: dict[str, Open] = {}  # of which nobody has said yet that the shared store released them
        self.lately = Lately(lately)
        self.leased: deque[Leased] = deque(maxlen=lately)

    def resume_at(self, behind: Position) -> Position:
        """Where a restart has to read from: the earliest open INTENT, or the earliest end that may not be told to the shared
        store; else `behind`."""
        if self.leased:
            behind = min(behind, self.leased[0].at)
        for *_, segment, start in self._unused.values():
            behind = min(behind, Position(segment, start))
        for *_, segment, start in self._open.values():
            return min(behind, Position(segment, start))
        return behind

    def in_flight(self) -> list[records.Intent]:
        """The open INTENTs whose reservations stand. From any thread."""
        without = self._waiting | self._expired
        return [_whole(begun) for name, begun in list(self._open.items()) if name not in without]

    def open_since(self, upstreams: Container[str]) -> int | None:
        """When the first of the attempts at these upstreams began that have no end; those whose deadline is over run on."""
        return min(
            (
                started_at
                for intent, common, *_ in self._open.values()
                if said_by(intent, common, "upstream") in upstreams
                and isinstance(started_at := said_by(intent, common, "started_at"), int)
            ),
            default=None,
        )

    def overdue(self, at_us: int) -> int:
        """How many attempts have no end, though their reservations' deadlines are over. Work grows with these alone."""
        count = 0
        for intent, common, *_ in self._open.values():
            deadline_at = said_by(intent, common, "deadline_at")
            if not isinstance(deadline_at, int) or deadline_at + _GRACE_US > at_us:
                break
            count += 1
        return count

    def take(self, shipped: Records, batch: Batch) -> None:
        """Never raises: a record that makes no sense is kept in `batch.unreadable`, and its attempt is charged all the same."""
        begun, ended = plain_records(shipped.payloads)
        first, others = 0, set(range(len(shipped))).difference(begun.places, ended.places)
        for place in (*sorted(others), len(shipped)):
            self._take_plain(shipped, between(begun, first, place), between(ended, first, place), batch)
            if place in others:
                self._take_whole(shipped[place], batch)
            first = place + 1

    def _take_plain(self, shipped: Records, begun: Begun, ended: Ended, batch: Batch) -> None:
        """INTENTs and SETTLEs between which nothing else stands."""
        if not (begun.places or ended.places) or self._taken_together(shipped, begun, ended, batch):
            return
        places = sorted((*begun.places, *ended.places))
        if len(places) == 1:
            self._take_whole(shipped[places[0]], batch)
            return
        # One of them is odd.
        first, half, last = places[0], places[len(places) // 2], places[-1] + 1
        self._take_plain(shipped, between(begun, first, half), between(ended, first, half), batch)
        self._take_plain(shipped, between(begun, half, last), between(ended, half, last), batch)

    def _taken_together(self, shipped: Records, begun: Begun, ended: Ended, batch: Batch) -> bool:
        """Whether they could be, so that it comes to what one by one does."""
        payloads = [shipped.payloads[place] for place in begun.places]
        starts = [shipped.bounds[place] for place in begun.places]
        opened = zip(begun.own, begun.common, payloads, repeat(shipped.segment), starts)
        new, ids = dict(zip([own.id for own in begun.own], opened, strict=True)), [own.id for own in ended.own]
        is_open = self._open | new
        theirs = [is_open.pop(attempt_id, None) for attempt_id in ids]
        if len(new) < len(payloads) or not all(theirs):  # one is said twice, or ends what did not begin
            return False
        for own in begun.own:
            if own.id in is_open:
                hold_alone(own)
        if not ids:
            self._open = is_open
            return True
        intents, commons, *_ = zip(*theirs, strict=True)
        try:
            kinds = kinds_of(commons, ended.common)
            if kinds is None:
                return False
            made = plain_entries(intents, ended, kinds, shipped, self._instance)
            leased = {at: _lease_of(end) for at, end in enumerate(ended.own) if end.lease is not NOTHING}
        except (TypeError, ValueError):
            return False
        for number, lease in leased.items():
            if lease is not None and (report := self._told_by(lease)) is not None:
                end, budgets, place = ended.own[number], made.budgets[number], ended.places[number]
                at = Position(shipped.segment, shipped.bounds[place])
                self.leased.append(Leased(end.id, end.epoch or "", report, budgets, at))
        self._open = is_open
        if self._waiting or self._expired:
            self._waiting.difference_update(ids)
            self._expired.difference_update(ids)
        self.lately.note(made)
        known = bisect_left(ended.places, shipped.ended_by(self._done))
        batch.add_all(made[known:] if known else made)
        return True

    def _take_whole(self, record: Record, batch: Batch) -> None:
        value = None
        try:
            value = orjson.loads(record.payload)
            self._take(value, record, batch)
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError, ValueError):
            is_known = self._is_known(record)
            if not is_known:
                batch.unreadable.append(record)
            charged = self._end_unread(value)
            if charged is not None and not is_known:
                batch.add(charged)

    def _begun(self, attempt_id: str) -> records.Intent:
        """What an open INTENT says. Raises KeyError."""
        return _whole(self._open[attempt_id])

    def _take(self, value: Any, record: Record, batch: Batch) -> None:
        kind, is_known = value["t"], self._is_known(record)
        if kind == "intent":
            self._open[value["id"]] = value, None, record.payload, record.segment, record.start
        elif kind in ("settle", "void"):
            if value.get("lease") is not None and (report := self._told_by(value["lease"])) is not None:
                budgets: list[Any] = [tuple(item) for item in value["budgets"] if is_amount(item)]
                leased = Leased(_text(value["id"]), _text(value["epoch"]), report, budgets, record.start_position)
                self.leased.append(leased)
            if kind == "settle":
                check_end(value)
            job = value.get("job")  # its end brings its INTENT along
            intent = job["intent"] if job else self._begun(value["id"])
            entry = entry_of(intent, value, self._instance)
            self._close(value["id"])
            self.lately.note([entry])
            if not is_known:
                batch.add(entry)
        elif kind == "job":
            running = self._running(value)
            self._close(value["id"])
            if not is_known:
                batch.add(running)
        elif kind == "correction":
            if not is_known:
                batch.add(_corrected(value))
        elif kind == "waiting":
            self._waiting.add(value["id"])
        elif kind == "reserved":
            self._reserved_after_all(value)
        elif kind == "expired":
            intent = value.get("intent") or self._begun(value["id"])
            expired = self._at_its_ceiling(intent, "expired", value["at"], value.get("epoch"))
            if value["id"] in self._open:  # else another instance's
                self._expired.add(value["id"])
            if not is_known:
                batch.add(expired)
        elif kind == "refused":
            begun = self._begun(value["id"]) if value["id"] in self._open else None
            self._close(value["id"])
            if not is_known:
                batch.refusals.append(_refused(value, begun))
                if begun is not None and value.get("unanswered"):
                    batch.add(self._void(begun, "refused", value["at"]))
        elif kind == "unused":
            left = self._open.get(value["id"])
            self._close(value["id"])
            self._unused.pop(value["id"], None)
            if intent := value.get("intent"):
                if not is_known:
                    batch.add(self._void(intent, "unused", value["at"]))
            elif left is not None and "epoch" in value:
                self._unused[value["id"]] = left
                self.lately.note([self._void(_whole(left), "unused", value["at"], _text(value["epoch"]))])
        elif kind == "tally":
            if not is_known:
                batch.tallies.append(_sound_tally(value))
        elif kind == "epoch":
            _text(value["epoch"])
        elif kind != "open":
            raise ValueError(kind)

    def _told_by(self, lease: Any) -> int | None:
        """The report that tells of an end. Asked before all else, as the INTENT may stand before where we resumed."""
        report, reported = lease or (None, 0)
        while self.leased and self.leased[0].report <= operator.index(reported or 0):
            self.leased.popleft()
        return None if report is None else operator.index(report)

    def _is_known(self, record: Record) -> bool:
        return (record.segment, record.end) <= self._done

    def _close(self, attempt_id: str) -> None:
        self._open.pop(attempt_id, None)
        if self._waiting or self._expired:
            self._waiting.discard(attempt_id)
            self._expired.discard(attempt_id)

    def _reserved_after_all(self, value: records.Reserved) -> None:
        """The reservation stands after a wait, or is smaller than the INTENT says."""
        self._waiting.discard(value["id"])
        *_, payload, segment, start = self._open[value["id"]]
        smaller: records.Intent = {
            **self._begun(value["id"]),
            "reserved_nanousd": value["reserved_nanousd"],
            "budgets": value["budgets"],
        }
        self._open[value["id"]] = smaller, None, payload, segment, start

    def _end_unread(self, value: Any) -> Entry | None:
        """The end of an attempt could not be read: it may have been billed, and is charged at its ceiling."""
        attempt_id = value.get("id") if isinstance(value, dict) and value.get("t") in ("settle", "void") else None
        if not isinstance(attempt_id, str) or attempt_id not in self._open:
            return None
        intent = self._begun(attempt_id)
        self._close(attempt_id)
        return self._at_its_ceiling(intent, "cut", intent.get("started_at"))

    def crashed(self, batch: Batch, ended_at: int) -> None:
        """The run is over. Its open INTENTs may have been billed, so each is charged at its ceiling, `unconfirmed`; but
        one that was waiting for room had reserved nothing and sent nothing, and an expired one is charged already. What it did
        not use may expire, or has."""
        for attempt_id, begun in self._open.items():
            intent = _whole(begun)
            if attempt_id in self._waiting:
                batch.add(self._void(intent, "crashed", ended_at))
            elif attempt_id not in self._expired:
                batch.add(self._at_its_ceiling(intent, "crashed", ended_at))
        for begun in self._unused.values():
            batch.add(self._void(_whole(begun), "unused", ended_at))
        for some in (self._open, self._waiting, self._expired, self._unused):
            some.clear()

    def _running(self, value: records.JobBegun) -> Entry:
        """The entry of a job that has begun: it counts as nothing until its end."""
        check_job(value["job"])
        check_stored(value)
        end: records.Settle = {
            "t": "settle", "id": value["id"], "ended_at": value["at"], "status": RUNNING, "outcome": RUNNING,
            "cost_nanousd": None, "cost_source": "computed", "usage_source": "none", "budgets": (), "job": value["job"],
            "stored": value.get("stored") or (), "stored_model": value.get("stored_model") or "",
        }  # fmt: skip
        if facts := value.get("stored_facts"):
            end["stored_facts"] = facts
        return entry_of(value["job"]["intent"], end, self._instance)

    def _void(self, intent: records.Intent, outcome: str, ended_at: Any, epoch: str = "") -> Entry:
        end: records.Void = {"t": "void", "id": intent["id"], "ended_at": ended_at, "outcome": outcome, "epoch": epoch}
        return entry_of(intent, end, self._instance)

    def _at_its_ceiling(self, intent: records.Intent, outcome: str, ended_at: Any, epoch: Any = None) -> Entry:
        end: records.Settle = {
            "t": "settle", "id": intent["id"], "ended_at": ended_at, "status": "unconfirmed", "outcome": outcome,
            "cost_nanousd": intent.get("reserved_nanousd"), "cost_source": "computed", "usage_source": "none", "epoch": epoch,
        }  # fmt: skip
        return entry_of(intent, end, self._instance)


def _lease_of(end: OfSettle) -> tuple[int | None, int | None] | None:
    """Raises ValueError or TypeError where an end that was granted out of a lease does not say of which."""
    if not is_said(end.lease):
        return None
    lease = lease_of(end.lease)
    if lease[0] is not None:
        _text(end.epoch)
    return lease


def _whole(begun: Open) -> records.Intent:
    """All that an INTENT says."""
    intent: Any
    intent, common, payload, *_ = begun
    whole: records.Intent = intent if common is None else whole_of(intent, common, payload)
    return whole


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _refused(value: records.Refused, intent: records.Intent | None) -> RefusedCall:
    return RefusedCall(
        _name(value["reason"]),
        _name_or_none(value.get("budget")),
        _text(value.get("group") or ""),
        operator.index(value.get("window_start") or 0),
        _text((intent.get("root_session_id") if intent else None) or ""),
    )


def _corrected(value: records.Correction) -> Entry:
    """A correction is written whole; a column that it does not know is empty. Raises where it is none."""
    row = value["row"]
    if row["kind"] != "correction" or not row["corrects_id"]:
        raise ValueError(row["kind"])
    made = row_of(row)
    if not is_valid(made):
        raise ValueError("a column cannot hold what the correction says")
    return Entry(made, NO_END, [bounded_amount(item) for item in value["budgets"] if is_amount(item)])


def _name(value: Any) -> str:
    """Of a series of a metric, which no database keeps with a NUL in it."""
    if "\x00" in _text(value):
        raise ValueError(value)
    return str(value)


def _name_or_none(value: Any) -> str | None:
    return None if value is None else _name(value)


def _sound_tally(value: records.Tally) -> records.Tally:
    for reason, budget, count in value["refusals"]:
        _name(reason), _name_or_none(budget), operator.index(count)
    for budget, count in value["would_refuse"]:
        _name(budget), operator.index(count)
    return value
