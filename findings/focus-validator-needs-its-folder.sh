#!/bin/sh
# focus-validator 2.2.1 (PyPI, Python 3.12 and newer) as pip installs it validates nothing, whatever the file.
#
# 1. It requires numpy<2, and pyarrow without a bound: pip takes pyarrow 26, which refuses to be imported with NumPy 1.
# 2. With an older pyarrow it reads its list of currencies from `focus_validator/rules/currency_codes.csv`, relative to the folder that
#    it is run in and not to itself: elsewhere it ends with FileNotFoundError. Run from site-packages it works, and has the model of
#    FOCUS 1.2 with it (--block-download).
# Seen with a file of one column: ImportError, then FileNotFoundError, then a report.
# Exits 0 while this is so, 1 when it has changed.
# PYTHON: an interpreter of 3.12 or newer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.12}" -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
pip focus-validator==2.2.1 pyarrow==26.0.1
printf 'BillingCurrency\nUSD\n' >"$folder/file.csv"
validate() {
    (cd "$1" && "$folder/venv/bin/focus-validator" --data-file "$folder/file.csv" --validate-version 1.2 --block-download) 2>&1 || true
}
as_installed=$(validate "$folder" | grep -c 'pyarrow requires NumPy 2.0' || true)
pip 'pyarrow<22'
elsewhere=$(validate "$folder" | grep -c 'FileNotFoundError.*focus_validator/rules/currency_codes.csv' || true)
there=$(validate "$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" | grep -c ': PASS ' || true)
echo "focus-validator 2.2.1: NumPy refused by pyarrow 26: $as_installed; currencies not found elsewhere: $elsewhere; rules passed in its folder: $there"
[ "$as_installed" -ge 1 ] && [ "$elsewhere" -ge 1 ] && [ "$there" -ge 1 ]
