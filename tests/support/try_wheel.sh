#!/bin/sh
# The wheel as a user meets it: built, its metadata and README checked, installed into clean environments beside PyPI's proxy.py
# (which has a top-level `proxy` of its own) in either order, and started by uvx. Fetches packages; leaves dist/ behind.
#   tests/support/try_wheel.sh   with PYTHON, and uv beside it
set -eu
cd "$(dirname "$0")/../.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
uv=$(dirname "$python")/uv
folder=$(mktemp -d)
server=
trap 'code=$?; [ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"; exit $code' EXIT

rm -rf dist build
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
rm -rf build ./*.egg-info.tmp
wheel=$(realpath dist/taximeter-*.whl)
"$uv" tool run --quiet twine@7.0.0 check --strict "$wheel"

cd "$folder"
for order in "$wheel proxy.py==2.4.10" "proxy.py==2.4.10 $wheel"; do
    rm -rf env
    "$uv" venv --quiet --python "$python" env
    # one after the other: whoever comes second must overwrite nothing
    for package in $order; do "$uv" pip install --quiet --python env/bin/python "$package"; done
    env/bin/taximeter --version
    env/bin/proxy --version >/dev/null
    env/bin/python -m taximeter prices show gpt-5 --provider openai >/dev/null
    "$uv" pip check --quiet --python env/bin/python
    "$uv" pip uninstall --quiet --python env/bin/python proxy.py
    env/bin/taximeter --version >/dev/null
done
echo "beside proxy.py 2.4.10: both work, installed in either order, and ours without it"

cat >taximeter.yaml <<YAML
server: {port: 0, admin_port: 0}
upstreams: {local: {base_url: "http://127.0.0.1:9/v1"}}
models: {"*": {upstream: local}}
keys: [{name: a, key: sk-of-the-wheels-test-0001}]
YAML
"$uv" tool run --quiet --python "$python" --from "$wheel" taximeter serve --config taximeter.yaml >log 2>&1 &
server=$!
tries=0
until grep -q "Taximeter is running" log; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then cat log >&2; exit 1; fi
    sleep 0.2
done
kill "$server"
wait "$server" || true
server=
echo "uvx --from $(basename "$wheel") taximeter serve: runs"
