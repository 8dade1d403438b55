"""The recorder's two threads: one that comes behind all calls, and one for when that is not enough."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from proxy.ledger.recording.recorder import Recorder
from proxy.processes.priority import give_way, yield_to_calls

log = logging.getLogger("taximeter.control")

# A batch takes hundredths of a second of CPU: one that took so long has hardly had any, and the next would not either.
_SLOW_S = 1.0
_SHORTEST_S, _LONGEST_S = 4.0, 64.0


class Recording:
    """Runs the recorder from `start` until `end`.

    Its batches give way to all that calls need of a core that they share. Where calls leave too little, so that one takes too
    long or more is waiting behind it, they have their part of the core in any case: for some seconds, and for longer each time
    that the first one after those takes too long again.
    """

    def __init__(self, recorder: Recorder, clock: Callable[[], float] = time.monotonic) -> None:
        self._recorder = recorder
        self._clock = clock
        self._stopping = threading.Event()
        self._hurried = ThreadPoolExecutor(1, "recorder-hurried")
        self._thread = threading.Thread(target=self._record, name="recorder")
        self._leisure_at = 0.0  # by the clock
        self._hurry_s = _SHORTEST_S

    def start(self) -> None:
        self._hurried.submit(yield_to_calls)  # from here: a thread begins with the priority of who starts it
        self._thread.start()

    def end(self) -> None:
        """Wait until everything in the spool is shipped."""
        self._stopping.set()
        self._thread.join()
        self._hurried.shutdown()

    def _record(self) -> None:
        """Should it ever fail, the process ends with it and is started again: never on without it."""
        give_way()
        try:
            self._recorder.run(self._stopping, self.take)
        except BaseException:
            log.exception("the recorder failed; the control process ends and is started again")
            os._exit(1)

    def take(self, step: Callable[[], int], pressed: bool) -> int:
        """What `step` returns. pressed: more is waiting already."""
        began = self._clock()
        if pressed or began < self._leisure_at:
            return self._hurried.submit(step).result()
        count = step()
        ended = self._clock()
        if ended - began <= _SLOW_S:
            self._hurry_s = _SHORTEST_S
        else:
            self._leisure_at = ended + self._hurry_s
            self._hurry_s = min(2 * self._hurry_s, _LONGEST_S)
        return count
