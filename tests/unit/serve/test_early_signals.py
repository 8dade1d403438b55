"""A signal that comes while the processes are not there yet, or half of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = r"""import os, signal, sys
from proxy.config.model import Config
from proxy.serve import supervisor as module
from proxy.serve.supervisor import Supervisor

def come(number):
    os.kill(os.getpid(), number)

def begins(name):
    return lambda _: os.write(1, name.encode() + b"\n")

supervisor = Supervisor(Config(), module.Path("config.yaml"), None)
for name in ("control", "data-0"):
    supervisor.add(name, begins(name))
{change}
sys.exit(supervisor.run())
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
module.load_config = lambda *_: (Config(), [])

def add_translators():
    translator = module.Child("translate", begins("translate"))
    supervisor._children.append(translator)
    return [translator]

supervisor.add_translators = add_translators
module.Supervisor._restart = lambda *_: None
"""


def _begun(change: str) -> list[str]:
    program = _PROGRAM.format(change=change)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.split())


@pytest.mark.parametrize(("change", "begun"), [(_BEFORE, set()), (_BETWEEN, {"control"})])
def test_behind_a_stop_nothing_is_begun(change: str, begun: set[str]) -> None:
    """It would serve until it is killed: who stopped told those only that were there."""
    assert {*_begun(change)} <= begun


def test_what_a_reload_brings_meanwhile_is_begun_once() -> None:
    assert _begun(_RELOAD) == ["control", "data-0", "translate"]
