"""What the supervisor tells its children: a new configuration, or (by dying) that it is time to stop.

A pipe for each child. The supervisor writes a length and a pickled `Config`; when it dies, the pipe ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import struct
from collections.abc import Callable
from typing import Any

_LENGTH = struct.Struct("<I")


class Orders:
    """Both ends of one pipe. After the fork, `for_child` closes the end that is not the child's."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        self._pending = b""

    # The supervisor's end.

    def send(self, config: Any) -> None:
        data = pickle.dumps(config)
        # A child that has died does not read; the one that replaces it is forked with the new configuration.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write_fd, _LENGTH.pack(len(data)) + data)

    def close(self) -> None:
        self._close(self._read_fd)
        self._close(self._write_fd)

    @staticmethod
    def _close(fd: int) -> None:
        with contextlib.suppress(OSError):
            os.close(fd)

    # The child's end.

    def for_child(self, *, mine: bool) -> None:
        """In a fork: keep only the reading end, and that only of the child's own pipe."""
        self._close(self._write_fd)
        if not mine:
            self._close(self._read_fd)

    def watch(self, *, on_config: Callable[[Any], None], on_parent_gone: Callable[[], None]) -> None:
        """Call back from the running loop."""
        os.set_blocking(self._read_fd, False)
        loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                data = os.read(self._read_fd, 1 << 20)
            except BlockingIOError:
                return
            if not data:
                loop.remove_reader(self._read_fd)
                on_parent_gone()
                return
            for config in self._configs(data):
                on_config(config)

        loop.add_reader(self._read_fd, readable)

    def _configs(self, data: bytes) -> list[Any]:
        self._pending += data
        configs = []
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            # Written by the supervisor that forked us, through a pipe that nobody else holds.
            configs.append(pickle.loads(self._pending[_LENGTH.size : end]))  # noqa: S301 - see above
            self._pending = self._pending[end:]
        return configs
