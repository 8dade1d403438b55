"""File descriptors: as many as the system gives, and a part of them kept from connections, for the work behind them."""

from __future__ import annotations

import resource

_ENOUGH = 65_536
A_CALL = 2  # a connection to its client and one to its upstream
_KEPT = 64  # for the spool, the ledger, the control socket, the listener …
_MATTERS = 0.95  # of the connections that are configured: who has so many will not miss the rest


def raise_limit() -> None:
    """Raise this process's limit (and its children's) as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_at_most(wanted: int, *, descriptors_each: int) -> int:
    """How many connections may be open so that the rest of the process always has descriptors left."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (soft - _KEPT) // descriptors_each))


def too_few(wanted: int) -> str | None:
    """What to tell an operator whose system gives files for far fewer connections of a data plane than `wanted`."""
    most = connections_at_most(wanted, descriptors_each=A_CALL)
    if most >= wanted * _MATTERS:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        f"server.max_connections is {wanted}, but a process may open {soft} files here, so it is {most}; allow "
        f"{wanted * A_CALL + _KEPT} (`ulimit -Hn`, systemd's LimitNOFILE, Compose's ulimits), or write {most}"
    )
