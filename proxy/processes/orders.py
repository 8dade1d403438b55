"""What the supervisor tells its children: a new configuration, what of its file is not in force, or (by dying) that it is
time to stop.

A pipe for each child, of `multiprocessing`: it frames what is sent, whatever its size and whatever interrupts the system
calls. When the supervisor dies, the pipe ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from multiprocessing.connection import Pipe
from typing import Any, NamedTuple


class InFile(NamedTuple):
    """What the configuration's file says and does not hold, as of its last reload. refused: why it was not taken at all, a
    line a fault; restart: settings that are read at the start only."""

    refused: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


class Orders:
    """Both ends of one pipe. After the fork each side closes the end that is not its own."""

    def __init__(self) -> None:
        self._reader, self._writer = Pipe(duplex=False)

    # The supervisor's end.

    def for_supervisor(self) -> None:
        """After the fork: without a reading end of its own, the supervisor is told when the child is gone."""
        self._reader.close()

    def send(self, order: Any) -> None:
        """Returns once the child has taken all but what a pipe holds (64 KiB)."""
        # A child that has died does not read; the one that replaces it is forked with the new configuration.
        with contextlib.suppress(BrokenPipeError):
            self._writer.send(order)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    # The child's end.

    def for_child(self, *, mine: bool) -> None:
        """In a fork: keep only the reading end, and that only of the child's own pipe."""
        self._writer.close()
        if not mine:
            self._reader.close()

    def next(self, within_s: float) -> Any | None:
        """The next configuration, waited for so long; None where there is none. Raises EOFError when the supervisor is gone."""
        try:
            return self._reader.recv() if self._reader.poll(within_s) else None
        except InterruptedError:
            return None
        except OSError:
            raise EOFError from None

    def watch(self, *, on_config: Callable[[Any], None], on_parent_gone: Callable[[], None]) -> None:
        """Call back on the running loop. A thread waits for the pipe, so that half a message holds no call up."""
        loop = asyncio.get_running_loop()

        def listen() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to tell
                with contextlib.suppress(EOFError, OSError):
                    while True:
                        loop.call_soon_threadsafe(on_config, self._reader.recv())
                loop.call_soon_threadsafe(on_parent_gone)

        threading.Thread(target=listen, name="orders", daemon=True).start()
