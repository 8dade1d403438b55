"""What becomes of tests that run beside each other in forks: none is lost, whatever becomes of its worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.house.source import ROOT

CRASHES = """
import os, signal, sys, warnings

def test_before(tmp_path): print("of the first")
def test_that_ends_its_worker(): os.kill(os.getpid(), signal.SIGKILL)
def test_after(): pass
def test_that_says_it_is_well(): os._exit(0)
"""
FAILS = """
import pytest, warnings

@pytest.fixture(scope="session")
def taken_down():
    yield
    print("taken", "down")
    raise OSError("could not be taken down")

def test_that_fails(): print("what it", "printed"); assert [1, 2] == [1, 3]
@pytest.mark.skip(reason="for a reason")
def test_left_out(): pass
def test_of_a_session(taken_down): pass
"""


def _run(folder: Path, *arguments: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(
        "from tests.conftest import pytest_addoption, pytest_cmdline_main, pytest_runtestloop"
    )
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "-rA", *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_every_test_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "test_crashes.py").write_text(CRASHES)
    (tmp_path / "test_fails.py").write_text(FAILS)

    code, told = _run(tmp_path)

    assert code == 1
    assert "3 failed, 3 passed, 1 skipped, 1 error" in told, told
    for line in (
        "PASSED test_crashes.py::test_before",
        "FAILED test_crashes.py::test_that_ends_its_worker",
        "ended with -9 in this test",
        "PASSED test_crashes.py::test_after",
        "FAILED test_crashes.py::test_that_says_it_is_well",
        "ended with 0 in this test",
        "FAILED test_fails.py::test_that_fails",
        "assert [1, 2] == [1, 3]",
        "what it printed",
        "for a reason",
        "PASSED test_fails.py::test_of_a_session",
        "ERROR test_fails.py::test_of_a_session - OSError: could not be taken down",
        "taken down",
    ):
        assert line in told, f"{line!r} is missing in:\n{told}"


def test_after_the_first_that_fails_none_is_begun(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_fails(): assert False\ndef test_more(): pass\n")
    for name in "bcdefg":
        (tmp_path / f"test_{name}.py").write_text("def test_waits():\n    import time; time.sleep(0.3)\n")

    code, told = _run(tmp_path, "-x")

    assert code == 1
    assert "1 failed" in told, told
    assert "stopping after 1 failures" in told, told
    assert "6 passed" not in told, told
