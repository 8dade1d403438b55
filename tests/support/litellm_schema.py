"""The tables of LiteLLM's database that a move reads, as its own migrations make them.

    python -m tests.support.litellm_schema MIGRATIONS > tests/fixtures/litellm/schema.sql

MIGRATIONS: the folder of that name in PyPI's `litellm-proxy-extras`, whose files the proxy applies at its start, by name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from proxy.config.from_litellm import SPEND_LOG, TABLES
from tests.support.postgres import PostgresServer


def migrate(server: PostgresServer, database: str, migrations: Path) -> int:
    """Apply every migration, in the order of their names; how many there are."""
    files = sorted(migrations.glob("*/migration.sql"))
    place = ["-h", str(server.folder), "-U", "taximeter", "-d", database]
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", *place, *[part for file in files for part in ("-f", str(file))]],
                   check=True, capture_output=True)  # fmt: skip
    return len(files)


def tables(server: PostgresServer, database: str) -> str:
    """CREATE TABLE of each that is read."""
    named = [part for table in [*TABLES.values(), SPEND_LOG] for part in ("-t", f'"{table}"')]
    made = server.dump(database, "--schema-only", "--no-owner", *named)
    return "\n".join(re.findall(r"^CREATE TABLE .*?^\);", made, re.DOTALL | re.MULTILINE))


if __name__ == "__main__":
    with PostgresServer() as server:
        server.execute("CREATE DATABASE litellm")
        migrate(server, "litellm", Path(sys.argv[1]))
        print(tables(server, "litellm"))
