"""Whether anything in a run may have cost something, told without the ledger. Only for a run whose writer is gone."""

from __future__ import annotations

from pathlib import Path

import orjson

from proxy.spool.frames import frames

_OF_NO_CALL = ("open", "epoch", "tally")
_WITHOUT_COST = ("refused", "void")
_MOST_BYTES = 4 * 1024 * 1024  # of a segment: a longer one is taken to have some


def may_have_cost(folder: Path, run: str) -> bool:
    """Not where each call that it began was refused, or never sent."""
    begun: set[str] = set()
    for path in sorted(folder.glob(f"{run}.*.spool")):
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:  # shipped meanwhile
            continue
        records, used = frames(data, 0, 0)
        if used < len(data) or len(data) > _MOST_BYTES:  # who knows what stands there
            return True
        for payload in records.payloads:
            record = orjson.loads(payload)
            kind = record["t"]
            if kind == "intent":
                begun.add(record["id"])
            elif kind in _WITHOUT_COST:
                begun.discard(record["id"])
            elif kind not in _OF_NO_CALL:
                return True
    return bool(begun)
