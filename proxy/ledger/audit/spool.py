"""The spool's part of the audit: its frames are sound, and every end that counts as shipped is in the ledger.

Only reads. What a person was left (damaged, unreadable, rejected records) is a difference until the person removes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from proxy.ledger.audit.difference import Differs
from proxy.ledger.schema import entries, spool_positions
from proxy.spool.frames import Position, Record, frames, is_torn, next_sound
from proxy.spool.reader import runs

_LEFT_FOR_A_PERSON = ("damaged", "unreadable", "rejected")
_READ_BYTES = 32 * 1024 * 1024  # longer than the longest frame
_LOOK_UP = 500


def check_spool(connection: Connection, folder: Path, entries_since_at: int | None) -> int:
    """How many records were read. Raises `Differs`. Ends of calls that began before `entries_since_at` may be deleted."""
    if not folder.is_dir():
        return 0
    positions = {
        row["run"]: Position(row["done_segment"], row["done_offset"])
        for row in connection.execute(sa.select(spool_positions)).mappings()
    }
    for path in sorted(folder.iterdir()):
        if path.suffix[1:] in _LEFT_FOR_A_PERSON and not (path.suffix == ".damaged" and is_torn(path.read_bytes())):
            raise Differs(f"spool {path.name}", "a record that could not be shipped was kept for a person to look at")
    count = 0
    for run in runs(folder):
        done = positions.get(run, Position(0, 0))
        ended: dict[str, Record] = {}
        began: dict[str, int] = {}
        for record in _records(folder, run):
            count += 1
            value = _opened(record)
            if value.get("t") == "intent":
                began[value["id"]] = value.get("started_at", 0)
            elif value.get("t") in ("settle", "void", "expired") and record.end_position <= done:
                at = began.pop(value["id"], None) or value.get("ended_at") or value.get("at") or 0
                if entries_since_at is None or at >= entries_since_at:
                    ended[value["id"]] = record
            if len(ended) >= _LOOK_UP:
                _look_up(connection, run, ended)
                ended.clear()
        _look_up(connection, run, ended)
    return count


def _opened(record: Record) -> dict[str, Any]:
    try:
        value = orjson.loads(record.payload)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("id", ""), str) else {}


def _look_up(connection: Connection, run: str, ended: dict[str, Record]) -> None:
    if not ended:
        return
    in_ledger = set(connection.execute(sa.select(entries.c.id).where(entries.c.id.in_(list(ended)))).scalars())
    for attempt_id, record in ended.items():
        if attempt_id not in in_ledger:
            place = f"spool {run}.{record.segment:06d}.spool at {record.start}"
            raise Differs(place, f"attempt {attempt_id} counts as shipped, and is not in the ledger")


def _records(folder: Path, run: str) -> Iterator[Record]:
    """Every sound record that is left of a run. A torn one at its end is what a killed process leaves."""
    for path in sorted(folder.glob(f"{run}.*.spool")):
        segment, offset = int(path.name.rsplit(".", 2)[1]), 0
        try:
            with path.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    records, used = frames(data, segment, offset)
                    yield from records
                    if not records:
                        if next_sound(data) is not None:
                            raise Differs(
                                f"spool {path.name} at {offset}",
                                "bytes that are not a record stand before whole records",
                            )
                        break
                    offset += used
                    file.seek(offset)
        except FileNotFoundError:
            continue  # shipped meanwhile
