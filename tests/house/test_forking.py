"""What becomes of tests that run beside each other in forks: none is lost, whatever becomes of its worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.house.source import ROOT
from tests.support.waiting import wait_until

CRASHES = """
import os, signal, time

def test_before(tmp_path): print("of the first")
def test_that_ends_its_worker():
    if not (child := os.fork()):
        time.sleep(60)
        os._exit(0)
    with open("child", "w") as file:
        file.write(str(child))
    os.kill(os.getpid(), signal.SIGKILL)
def test_after():
    with open("child") as file:
        os.kill(int(file.read()), signal.SIGKILL)  # it is there: that its parent has ended was seen all the same
def test_that_says_it_is_well(): os._exit(0)
"""
FAILS = """
import pytest, threading, time, warnings

@pytest.fixture(scope="session")
def taken_down():
    yield
    print("taken", "down")
    raise OSError("could not be taken down")

def test_that_fails(): print("what it", "printed"); assert [1, 2] == [1, 3]
@pytest.mark.skip(reason="for a reason")
def test_left_out(): pass
@pytest.mark.timeout(0.3)
def test_that_takes_too_long():
    threading.Thread(target=time.sleep, args=(2,), name="another thread").start()
    while True:
        time.sleep(60)
def test_that_warns(): warnings.warn("a warning")
def test_of_a_session(taken_down): pass
"""
STOPS = {
    "a": """
import os
def test_fails():
    with open("writing", "w") as file:
        file.write(str(os.getpid()))
    os.rename("writing", "worker")
    assert False
def test_more(): pass
""",
    "b": """
import os, time
def test_that_another_has_failed():
    while not os.path.exists("worker"):
        time.sleep(0.02)
    with open("worker") as file:
        pid = int(file.read())
    while os.path.exists(f"/proc/{pid}"):  # what it told was read before its end was
        time.sleep(0.02)
def test_behind_it(): pass
""",
    "c": "def test_never_begun(): pass",
}
INTERRUPTED = """
import os, pytest, time

@pytest.fixture(scope="module")
def stands():
    yield
    with open(f"{__name__}.down", "w"):
        pass

def test_waits(stands):
    with open(f"{__name__}.up", "w"):
        pass
    time.sleep(60)
"""
# A shell starts what goes on behind it (`&`) with interrupts ignored, and Python leaves that so.
INTERRUPTIBLE = """
import signal, sys, pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(pytest.main(sys.argv[1:]))
"""
TROUBLE = """
def pytest_unconfigure(config):
    if hasattr(config, "workerinput"):
        raise OSError("not closed")
"""


def _command(folder: Path, conftest: str = "") -> list[str]:
    (folder / "conftest.py").write_text(f"from tests.conftest import pytest_addoption, pytest_runtestloop\n{conftest}")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-rA"]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def _run(folder: Path, *arguments: str, conftest: str = "") -> tuple[int, str]:
    command = [*_command(folder, conftest), *arguments]
    ran = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def test_every_test_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "test_crashes.py").write_text(CRASHES)
    (tmp_path / "test_fails.py").write_text(FAILS)

    code, told = _run(tmp_path)

    assert code == 1
    assert "collected 9 items" in told, told
    assert "4 failed, 4 passed, 1 skipped, 1 warning, 1 error" in told, told
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
        "FAILED test_fails.py::test_that_takes_too_long - Failed: Timeout",
        "Stack of another thread",
        "PASSED test_fails.py::test_that_warns",
        "UserWarning: a warning",
        "PASSED test_fails.py::test_of_a_session",
        "ERROR test_fails.py::test_of_a_session - OSError: could not be taken down",
        "taken down",
    ):
        assert line in told, f"{line!r} is missing in:\n{told}"


def test_after_the_first_that_fails_none_is_begun(tmp_path: Path) -> None:
    for name, text in STOPS.items():
        (tmp_path / f"test_{name}.py").write_text(text)

    code, told = _run(tmp_path, "-x")

    assert code == 1
    assert "stopping after 1 failures" in told, told
    assert "1 failed, 1 passed" in told, told
    assert "PASSED test_b.py::test_that_another_has_failed" in told, told


def test_what_goes_wrong_outside_of_tests_is_more_than_tests_that_failed(tmp_path: Path) -> None:
    """`make test` runs those that failed again, and forgets the rest."""
    (tmp_path / "test_a.py").write_text("def test_well(): pass")

    code, told = _run(tmp_path, conftest=TROUBLE)

    assert code == 2, told
    assert "1 failed, 1 passed" in told, told
    assert "OSError: not closed" in told, told


def test_workers_that_are_interrupted_take_down_what_their_tests_stand_on(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(INTERRUPTED)
    python, _, _, *arguments = _command(tmp_path)
    command = [python, "-c", INTERRUPTIBLE, *arguments]
    with subprocess.Popen(
        command, cwd=tmp_path, env=_environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        wait_until("both run", lambda: len(list(tmp_path.glob("*.up"))) == 2, 60)
        os.killpg(running.pid, signal.SIGINT)
        told = running.communicate(timeout=60)[0]

    assert running.returncode == 2, told
    assert "KeyboardInterrupt" in told, told
    assert {path.name for path in tmp_path.glob("*.down")} == {"test_a.down", "test_b.down"}
