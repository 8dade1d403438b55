#!/bin/sh
# A move from LiteLLM with the tables of its newest version: those that the migrations of PyPI's `litellm-proxy-extras` make, in
# a PostgreSQL of the test's. Prisma's engine, which the proxy runs them with, is no package of PyPI's: psql runs the same files.
#   tests/support/try_litellm.sh   with PYTHON, and uv beside it
set -eu
cd "$(dirname "$0")/../.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
uv=$(dirname "$python")/uv
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$uv" pip install --quiet --no-deps --target "$folder/extras" litellm-proxy-extras
LITELLM_MIGRATIONS="$folder/extras/litellm_proxy_extras/migrations"
export LITELLM_MIGRATIONS
echo "$(ls "$folder/extras" | grep dist-info): $(ls -d "$LITELLM_MIGRATIONS"/*/ | wc -l) migrations"
"$python" -m pytest -q -p no:cacheprovider --durations=0 tests/e2e/test_move_from_litellm.py
