#!/bin/sh
# Exported files before their readers: a made-up ledger as JSON lines and Parquet, a file a day, read by DuckDB and pyarrow; the
# sums are the ledger's. Fetches packages, into a folder that goes away.
#   tests/support/try_exports.sh   with PYTHON, and uv beside it
set -eu
cd "$(dirname "$0")/../.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
uv=$(dirname "$python")/uv
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$uv" venv --quiet --python "$python" "$folder/env"
"$uv" pip install --quiet --python "$folder/env/bin/python" duckdb==2.0.1 pyarrow==26.0.1
"$python" -m tests.support.focus_ledger "$folder"

# pyarrow comes from the other environment: ours has none
PYTHONPATH=$("$folder/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONPATH
"$python" - "$folder" <<'PYTHON'
import sys

from proxy.ledger.database import open_ledger
from tests.support.exported import drain, exporter

folder = sys.argv[1]
engine = open_ledger(f"sqlite:///{folder}/ledger.db")
for form in ("jsonl", "parquet"):
    drain(exporter(engine, {"name": form, "type": "file", "path": f"{folder}/{form}", "format": form}, since=0))
PYTHON
unset PYTHONPATH
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sqlite3
import sys

import duckdb
from pyarrow import parquet

folder = sys.argv[1]
counted = "FROM entries WHERE status NOT IN ('void', 'running')"
with sqlite3.connect(f"{folder}/ledger.db") as ledger:
    wanted = ledger.execute(f"SELECT count(*), sum(cost_nanousd), sum(capacity_nanousd) {counted}").fetchone()
for form in ("jsonl", "parquet"):
    asked = "SELECT count(DISTINCT id), sum(cost_usd::DECIMAL(38, 9)) * 1000000000, sum(capacity_usd::DECIMAL(38, 9)) * 1000000000"
    ((*told,),) = duckdb.sql(f"{asked} FROM '{folder}/{form}/*.{form}'").fetchall()
    told = tuple(map(int, told))
    assert told == wanted, (form, told, wanted)
types = {field.name: str(field.type) for field in parquet.read_schema(f"{folder}/parquet/2026-11-23.parquet")}
assert types["cost_usd"] == "decimal128(38, 9)" and types["started_at"] == "timestamp[us, tz=UTC]", types
print(f"{wanted[0]} entries, {wanted[1]} nano-USD and {wanted[2]} of machines, in JSON lines and Parquet")
PYTHON
