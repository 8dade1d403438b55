"""A stop of the translator in the moment in which one of its workers ends."""

from __future__ import annotations

import os
import signal
from typing import Any, cast

from proxy.config.model import Config
from proxy.processes.orders import Orders
from proxy.translate.process import Nursery


def test_a_stop_in_the_moment_of_a_worker_s_end_is_a_stop() -> None:
    """It was a traceback, and the other workers were never told to stop."""
    nursery = Nursery(Config(), cast(Any, None), Orders(), cast(Any, None))
    gone, there = os.posix_spawnp("true", ["true"], {}), os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    os.waitpid(gone, 0)
    nursery._workers |= {gone: 0.0, there: 0.0}

    nursery._on_stop()

    assert os.waitstatus_to_exitcode(os.waitpid(there, 0)[1]) == -signal.SIGTERM
