#!/bin/sh
# The FOCUS export before a public validator: rows of a made-up ledger, as CSV and Parquet, linted by `focus-data-toolkit` as
# Cost and Usage 1.4; what 1.2 and the draft of 1.5 say otherwise is compared. Fetches packages, into a folder that goes away.
#   tests/support/try_focus.sh   with PYTHON, and uv beside it
set -eu
cd "$(dirname "$0")/../.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
uv=$(dirname "$python")/uv
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$uv" venv --quiet --python "$python" "$folder/env"
"$uv" pip install --quiet --python "$folder/env/bin/python" focus-data-toolkit==0.14.1 pyarrow==26.0.1
"$python" -m tests.support.focus_ledger "$folder"

# pyarrow comes from the other environment: ours has none
PYTHONPATH=$("$folder/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
export PYTHONPATH
for name in 1.4.csv 1.4.parquet 1.2.csv; do
    "$(dirname "$python")/taximeter" report focus --config "$folder/taximeter.yaml" --since 2026-11-01 --until 2026-12-01 \
        --version "${name%.*}" --out "$folder/focus-$name"
done
unset PYTHONPATH
for name in 1.4.csv 1.4.parquet; do
    "$folder/env/bin/focus-toolkit" validate "$folder/focus-$name"
done
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import csv
import sys
from decimal import Decimal

from pyarrow import parquet

folder = sys.argv[1]
sheets = {version: list(csv.DictReader(open(f"{folder}/focus-{version}.csv", newline=""))) for version in ("1.4", "1.2")}
table = parquet.read_table(f"{folder}/focus-1.4.parquet")
sums = {version: sum(Decimal(row["BilledCost"]) for row in rows) for version, rows in sheets.items()}
sums["parquet"] = sum(table["BilledCost"].to_pylist())
assert len(set(sums.values())) == 1 and table.num_rows == len(sheets["1.4"]), sums
print(f"{table.num_rows} rows, {sums['parquet'].normalize()} USD in each: 1.4 and 1.2, CSV and Parquet")
PYTHON
