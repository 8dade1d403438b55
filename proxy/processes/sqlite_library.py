"""SQLite's library, told how to work before it does."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util

_MEMSTATUS = 9  # SQLITE_CONFIG_MEMSTATUS, <sqlite3.h>
_OK = 0


def without_statistics() -> bool:
    """Have it keep no account of its memory, which nobody reads here: a lock around every small piece of it, a seventh of what
    an INSERT of a row costs (https://www.sqlite.org/c3ref/c_config_covering_index_scan.html#sqliteconfigmemstatus). Whether it
    was taken: it has to be told before `sqlite3` is imported, and a Python with a library of its own inside may hide it."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        spec = importlib.util.find_spec("_sqlite3")
        # Through the very module that will be imported: another copy of the library would not be the one that is used.
        return bool(ctypes.CDLL(spec.origin if spec else None).sqlite3_config(_MEMSTATUS, 0) == _OK)
    return False
