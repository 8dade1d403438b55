"""Ports for the servers that tests start: several runs of the suite, and several workers of each, stand beside each other."""

from __future__ import annotations

import random
import socket

# Below the ports that Linux hands out by itself (32768 and up), so that no connection of anybody's is given one between
# the moment when it is chosen and the moment when its server listens. The defaults, 4100 and 4101, are left alone.
_FIRST, _BEHIND = 15_000, 32_000
_chance = random.SystemRandom()
_taken: set[int] = set()


def free_port() -> int:
    """A port on which nothing listens, and which this process has not handed out before."""
    while True:
        port = _chance.randrange(_FIRST, _BEHIND)
        if port in _taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _taken.add(port)
        return port
