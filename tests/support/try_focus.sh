#!/bin/sh
# The FOCUS export before the public validators: rows of a made-up ledger, as CSV and Parquet; 1.4 linted by `focus-data-toolkit`,
# 1.2 by `focus-validator`, which has the model of 1.2 with it (that of 1.4 it would fetch) and needs Python 3.12. Sums are
# compared. Fetches packages, into a folder that goes away.
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
for name in 1.4.csv 1.4.parquet 1.2.csv 1.2.parquet; do
    "$(dirname "$python")/taximeter" report focus --config "$folder/taximeter.yaml" --since 2026-11-01 --until 2026-12-01 \
        --version "${name%.*}" --out "$folder/focus-$name"
done
unset PYTHONPATH
for name in 1.4.csv 1.4.parquet; do
    "$folder/env/bin/focus-toolkit" validate "$folder/focus-$name"
done
"$uv" venv --quiet --no-python-downloads --python '>=3.12' "$folder/newer" || {
    echo "1.2 is not validated: focus-validator needs Python 3.12 or newer, and there is none here" >&2
    exit 1
}
# pyarrow from 22 on needs NumPy 2, which focus-validator excludes
"$uv" pip install --quiet --python "$folder/newer/bin/python" focus-validator==2.2.1 'pyarrow<22'
for name in 1.2.csv 1.2.parquet; do
    # it looks for its list of currencies from the folder that it is run in
    (cd "$("$folder/newer/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" &&
        "$folder/newer/bin/focus-validator" --data-file "$folder/focus-$name" --validate-version 1.2 --block-download) \
        >"$folder/said" 2>&1 || { cat "$folder/said"; exit 1; }
    passed=$(grep -c ': PASS ' "$folder/said") || true
    # of two rules for InvoiceId one or the other holds (C-003): null, as no invoice is known, or not null
    failed=$(grep ': FAIL ' "$folder/said" | grep -v InvoiceId-C-005-C) || true
    echo "focus-validator 2.2.1, $name as 1.2: $passed rules passed${failed:+, and these did not:}"
    [ -z "$failed" ] || { echo "$failed"; exit 1; }
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
