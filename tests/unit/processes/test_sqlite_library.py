"""SQLite without an account of its memory: in a process of its own, as it has to be told before anything uses it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from proxy.processes.sqlite_library import without_statistics
assert "sqlite3" not in sys.modules
told = without_statistics()
import sqlite3
database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE t (a TEXT)")
database.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 1000)
assert database.execute("SELECT count(*), sum(length(a)) FROM t").fetchone() == (1000, 1_000_000)
assert not without_statistics()  # too late: nothing changes
assert database.execute("SELECT count(*) FROM t").fetchone() == (1000,)
import ctypes, _sqlite3
used = getattr(ctypes.CDLL(_sqlite3.__file__), "sqlite3_memory_used", None) if hasattr(_sqlite3, "__file__") else None
if used is not None:
    used.restype = ctypes.c_longlong
    assert (used() == 0) is told
"""


def test_sqlite_works_without_an_account_of_its_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
