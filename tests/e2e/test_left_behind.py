"""What a worker of the tests starts ends with it, however it ends."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from tests.support import credit_vendors, media_vendors
from tests.support.marks import WORKER, marked
from tests.support.processes import ROOT
from tests.support.waiting import wait_until
from tests.support.warm import Forked, environment

_WORKER = """
import sys, time
from pathlib import Path
from tests.support.processes import module_running, taximeter
from tests.support.warm import WARM

WARM.wanted = True
with module_running(Path(sys.argv[1]), "tests.support.credit_vendors"):
    print(taximeter("--version").stdout, flush=True)
    time.sleep(100)
"""


def test_a_killed_worker_leaves_nothing_running(tmp_path: Path) -> None:
    mark = f"killed-{tmp_path.name}"
    command = [sys.executable, "-c", _WORKER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment() | {WORKER: mark}, cwd=ROOT) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().startswith(b"taximeter ")
        assert len(marked(f"{WORKER}={mark}")) == 3  # itself, the process with the imports, the vendors
        worker.kill()

    wait_until("all of it is gone", lambda: not marked(f"{WORKER}={mark}"), 60)


def test_an_end_is_seen_whatever_the_number_of_its_descriptor() -> None:
    """Where a worker has more than a thousand open, the processes of a test were not ended."""
    reading, writing = os.pipe()
    high = fcntl.fcntl(reading, fcntl.F_DUPFD, 1024)
    os.close(reading)
    process = Forked(0, high, None)
    assert process.poll() is None
    os.write(writing, (3 << 8).to_bytes(4, "little"))
    os.close(writing)

    assert process.wait(10) == 3
    assert process.poll() == 3


def test_a_long_text_is_read_once() -> None:
    """Its square took a processor for hours, on behalf of a caller that had left."""
    text = "x" * 2_000_000

    assert credit_vendors.orders_in(f"nonce=7 {text} end=done") == {"nonce": "7", "end": "done"}
    assert media_vendors.orders_in({"prompt": f"nonce=7 {text} end=done"}) == {"nonce": "7", "end": "done"}
