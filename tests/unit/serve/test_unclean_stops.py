"""A stop in which a process does not come to its end is told in the log; one that goes as it should says nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The data plane asks for the stop as soon as it is there, and then does what the case says.
_PROGRAM = r"""import logging, os, signal, socket, sys
from proxy.config.model import Config
from proxy.config.server import Server
from proxy.serve import supervisor as module

logging.basicConfig(format="%(message)s")
module._KILL_AFTER_S = 0.1
on_stop, drain_s = sys.argv[1], float(sys.argv[2])

def data(_):
    signal.signal(signal.SIGTERM, lambda *_: exec(on_stop))
    os.kill(os.getppid(), signal.SIGTERM)
    while True:
        signal.pause()

supervisor = module.Supervisor(Config(server=Server(drain_timeout_s=drain_s)), None, None)
supervisor.add("data-0", data, socket.socket())
sys.exit(supervisor.run())
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("on_stop", "drain_s", "told"),
    [
        ("os._exit(0)", 60, []),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            60,
            [
                "the data-0 process ended unexpectedly (killed: by a person, or by the kernel where memory ran out, which `dmesg` says then) while it stopped"
            ],
        ),
        ("os._exit(1)", 60, ["the data-0 process ended unexpectedly (exit code 1) while it stopped"]),
        ("os.kill(os.getppid(), signal.SIGTERM)", 60, ["killed, as a second stop was asked for: data-0"]),
        ("pass", 0, ["killed, as they had not ended in time after the stop: data-0"]),
    ],
    ids=["clean", "killed", "failed", "asked twice", "late"],
)
def test_a_stop_tells_what_did_not_come_to_its_end(on_stop: str, drain_s: float, told: list[str]) -> None:
    """One that was killed in the drain left exit code 0, and no word in the log. One that did not end was never killed: who
    stopped waited for it on, as Python begins a wait again behind a signal."""
    program = [sys.executable, "-c", _PROGRAM, on_stop, str(drain_s)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert [line.partition(";")[0] for line in done.stderr.splitlines()] == told


# SIGTERM comes when the data plane is gone for the system already, and the supervisor has not noted it yet.
_JUST_ENDED = r"""import logging, os, signal, socket, sys
from proxy.config.model import Config
from proxy.serve import supervisor as module

logging.basicConfig(format="%(message)s")
wait = os.waitpid

def waitpid(pid, options):
    ended = wait(pid, options)
    if not supervisor._stopping:
        for _ in range(int(sys.argv[1])):
            signal.raise_signal(signal.SIGTERM)
    return ended

module.os.waitpid = waitpid
supervisor = module.Supervisor(Config(), None, None)
supervisor.add("data-0", lambda _: os._exit(0), socket.socket())
sys.exit(supervisor.run())
"""


@pytest.mark.parametrize("times", [1, 2])
def test_a_stop_in_the_moment_of_a_process_s_end_is_a_stop(times: int) -> None:
    """It was a traceback and exit code 1, and the ledger got nothing more from the control process."""
    program = [sys.executable, "-c", _JUST_ENDED, str(times)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
