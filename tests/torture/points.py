"""The named points at which a process of the gateway can be told to die; `crashing.py` is the program that obeys.

A point dies when its file lies in the folder that `FOLDER` names in the environment: `WHOM PASSES`, where WHOM is `self`
or `all` (every process of the gateway, at one moment) and PASSES says how often the point is passed first. The file's
name then ends in `.hit`.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "TORTURE_CRASH"
PROGRAM = f"{__package__}.crashing"

# name -> what was last done when the process dies there
DATA_POINTS = {
    "before-intent": "nothing is on disk, nothing was sent",
    "torn-intent": "half of the INTENT is on disk, or of several that are written together",
    "after-intent": "the INTENT is on disk, nothing was sent",
    "after-reserve": "the reservation stands in memory, nothing is on disk, nothing was sent",
    "before-send": "a connection is open, nothing was sent",
    "after-send": "the request was written to the upstream",
    "after-head": "the answer's head has come",
    "mid-stream": "some of a stream has come and gone on",
    "before-settle": "the answer is metered, its SETTLE is not on disk",
    "torn-settle": "half of the SETTLE is on disk, or of several that are written together",
    "after-settle": "the SETTLE is on disk, the client of a whole answer has none of it yet",
    "after-store": "the budgets are settled; of a whole answer the SETTLE is not on disk, and the client has none of it yet",
}
STREAM_ONLY = frozenset({"mid-stream"})
CONTROL_POINTS = {
    "before-insert": "a batch is read, nothing is written",
    "before-commit": "all of a batch is written, nothing is committed",
    "after-commit": "a batch is committed, nobody was told",
    "before-delete": "a shipped segment is about to be deleted",
    "after-delete": "a shipped segment was deleted",
    "before-unlock": "the segments of a finished run are deleted, its lock file is not",
}
POINTS = DATA_POINTS | CONTROL_POINTS


def arm(folder: Path, point: str, *, whom: str, passes: int) -> Path:
    """Let `point` kill; the file that is there once it has."""
    if point not in POINTS:
        raise ValueError(f"{point!r} is no crash point")
    hit = folder / f"{point}.hit"
    hit.unlink(missing_ok=True)
    new = folder / f"{point}.new"
    new.write_text(f"{whom} {passes}")
    new.rename(folder / point)
    return hit
