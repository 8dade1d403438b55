#!/bin/sh
# pytest-xdist 3.8.0 with pytest 9.2.0: `--dist loadgroup` does not keep groups together, and says nothing.
#
# A worker tells the controller of a group by writing `@GROUP` behind the test's id, into the item's private `_nodeid`
# (xdist/remote.py). pytest 9.2 has no such attribute: the assignment makes a new one that nobody reads, so the controller
# sees plain ids, and tests of one `@pytest.mark.xdist_group` run on several workers at the same time. "scheduling tests via
# LoadGroupScheduling" is printed all the same. With pytest 9.0.2 the ids are `…::test_x[0]@together`, on one worker.
# Seen: two workers for one group of 20 tests with 9.2.0, one with 9.0.2.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_group.py" <<'PYTHON'
import time

import pytest


@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(20))
def test_x(number):
    time.sleep(0.02)
PYTHON

workers() { # of pytest $1: how many ran the one group
    python3 -m venv "$folder/venv-$1"
    "$folder/venv-$1/bin/pip" install --quiet --disable-pip-version-check "pytest==$1" pytest-xdist==3.8.0
    "$folder/venv-$1/bin/python" -m pytest -p no:cacheprovider -v -n 2 --dist loadgroup "$folder/test_group.py" \
        | grep -o '^\[gw[01]\]' | sort -u | wc -l
}

new=$(workers 9.2.0)
old=$(workers 9.0.2)
echo "pytest-xdist 3.8.0: workers that ran one group: $new with pytest 9.2.0, $old with pytest 9.0.2"
[ "$new" = 2 ] && [ "$old" = 1 ]
