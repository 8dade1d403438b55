"""When Python looks for cycles: never while a program starts, seldom afterwards, and in a process that is not ours as before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.processes import garbage_collection


def _said_by(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_start_looks_for_none_and_what_it_left_is_not_looked_at_again() -> None:
    code = (
        "import gc; from proxy.processes import garbage_collection; garbage_collection.pause(); print(gc.isenabled());"
        "garbage_collection.resume(); print(gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 1000)"
    )
    assert _said_by(code).split("\n") == ["False", "True (50000, 20, 50) True"]


def test_cycles_that_come_later_are_found() -> None:
    code = (
        "import gc, weakref; from proxy.processes import garbage_collection; garbage_collection.pause(); garbage_collection.resume()\n"
        "class Knot: pass\n"
        "knot = Knot(); knot.itself = knot; seen = weakref.ref(knot); del knot\n"
        "kept = [[] for _ in range(100_000)]\n"
        "print(seen())"
    )
    assert _said_by(code) == "None"


def test_who_did_not_begin_so_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage_collection.gc, "freeze", lambda: pytest.fail("what others made is not ours to keep"))
    garbage_collection.resume()


@pytest.mark.parametrize("program", ["proxy", "taximeter"])
def test_both_ways_to_start_begin_so(program: str) -> None:
    """Whoever is asked for its version has never looked."""
    code = (
        "import gc, runpy, sys; sys.argv = ['taximeter', '--version']\n"
        "looks = []; gc.callbacks.append(lambda phase, _: looks.append(phase))\n"
        "import proxy.cli.start; looks.clear()\n"
        f"import contextlib\nwith contextlib.suppress(SystemExit): runpy.run_module({program!r}, run_name='__main__')\n"
        "print(len(looks))"
    )
    assert _said_by(code).split("\n")[-1] == "0"
