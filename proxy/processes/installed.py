"""Whether the files of another version lie where this process's were: whatever it imports from then on is the other's.

What is compared stands for all: who installs a version replaces every file.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

OTHER_VERSION = "another version of Taximeter has been installed since this one was started; start it again"

_COMPARED = Path(__file__).parents[1] / "config"  # what a reload imports: of these files no one is the other's unseen


def _files() -> list[tuple[str, int, int]]:
    with contextlib.suppress(OSError), os.scandir(_COMPARED) as entries:
        files = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py")]
        return sorted((name, status.st_size, status.st_mtime_ns) for name, status in files)
    return []


_AT_START = _files()


def is_another_version() -> bool:
    """Whether they have changed since this was imported; a fork goes by the process that it comes from."""
    return _files() != _AT_START
