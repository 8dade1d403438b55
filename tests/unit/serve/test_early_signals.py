"""A signal that comes while the processes are not there yet, or half of them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

# Each in a fork of its own: what they stand on is imported once.
_PROGRAM = r"""import json, os, signal, socket, sys
from proxy.config.model import Config
from proxy.serve import supervisor as module
from proxy.serve.supervisor import Supervisor

def come(number):
    os.kill(os.getpid(), number)

def run(change):
    reads, writes = os.pipe()
    if not (child := os.fork()):
        def begins(name):
            return lambda _: os.write(writes, name.encode() + b"\n")

        supervisor = Supervisor(Config(), module.Path("config.yaml"), None)
        for name in ("control", "data-0"):
            supervisor.add(name, begins(name), socket.socket())
        exec(change, globals() | {"supervisor": supervisor, "begins": begins})
        sys.exit(supervisor.run())
    os.close(writes)
    with os.fdopen(reads) as begun:
        names = sorted(begun.read().split())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), names

print(json.dumps([run(change) for change in json.loads(sys.argv[1])]))
"""

_BEFORE = "module.packaged_book = lambda: come(signal.SIGTERM)"
_BETWEEN = """
class Orders(module.Orders):
    def for_supervisor(self):  # signals wait until the first is there
        super().for_supervisor()
        come(signal.SIGTERM)

module.Orders = Orders
"""
_RELOAD = """
module.packaged_book = lambda: come(signal.SIGHUP)
module.load_apart = lambda *_, **__: (Config(), [], False)

def add_translators():
    translator = module.Child("translate", begins("translate"), socket.socket())
    supervisor._children.append(translator)
    return [translator]

supervisor.add_translators = add_translators
module.Supervisor._restart = lambda *_: None
"""


@cache
def _ends() -> list[tuple[int, list[str]]]:
    """Of each of the three: its status, and what has begun."""
    program = [sys.executable, "-c", _PROGRAM, json.dumps([_BEFORE, _BETWEEN, _RELOAD])]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    ended: list[tuple[int, list[str]]] = json.loads(done.stdout)
    return ended


@pytest.mark.long
def test_behind_a_stop_nothing_is_begun() -> None:
    """It would serve until it is killed: who stopped told those only that were there."""
    before, between, _ = _ends()
    assert before == [0, []]
    assert between in ([0, []], [0, ["control"]])


def test_what_a_reload_brings_meanwhile_is_begun_once() -> None:
    assert _ends()[2] == [0, ["control", "data-0", "translate"]]
