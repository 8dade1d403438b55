#!/bin/sh
# A wheel with machine code beside some of its modules, for this kind of machine and this version of Python: its code is put through
# calls of all kinds beside its sources, and through the tests of units and flows, then the wheel is left in dist/. It needs a C compiler
# and Python's headers, and takes some minutes.
#   tests/support/try_compiled.sh   with PYTHON, which has mypy
set -eu
cd "$(dirname "$0")/../.."
repository=$PWD
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
folder=$(mktemp -d)
trap 'code=$?; rm -rf "$folder"; exit $code' EXIT

mkdir "$folder/tree"
git ls-files -z | xargs -0 cp --parents -t "$folder/tree"
cd "$folder/tree"
TAXIMETER_COMPILED=1 "$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$folder" .
rm -rf build ./*.egg-info
"$python" -m zipfile -e "$folder"/taximeter-*.whl "$folder/wheel"
cd "$folder/wheel/taximeter"
find . -name '*.so' -exec cp --parents -t "$folder/tree" {} +
cd "$folder/tree"
"$python" -m proxy --version | grep -q "machine code"
# Calls of all kinds, through the code and through its sources, are told, billed and recorded the same. (Their order is the threads'.)
said_in() {
    (cd "$1" && PYTHONPATH="$1" "$python" -m tests.support.varied_calls) >"$2" 2>"$folder/errors" \
    || { tail -20 "$folder/errors" >&2; exit 1; }
    sort -o "$2" "$2"
}
said_in "$folder/tree" "$folder/native"
said_in "$repository" "$folder/interpreted"
diff "$folder/interpreted" "$folder/native" >"$folder/differs" || { cut -c1-300 "$folder/differs" >&2; exit 1; }
run() { # what only interpreted code shows is left out, which is no fault where nothing else may be (CI)
    CI='' INSTALL='' "$python" -m pytest -q -m 'not needs and not agents and not vllm' "$@" tests/unit tests/flow tests/recorded
}
run -n "${WORKERS:-2}" || run --last-failed --last-failed-no-failures none  # alone, what failed beside others
mkdir -p "$repository/dist"
cp "$folder"/taximeter-*.whl "$repository/dist/"
echo "compiled, and the tests of units and flows pass, but for those that are named above: dist/$(cd "$folder" && ls taximeter-*.whl)"
