"""Settings that are read only at the start: a reload keeps them as they are, and says which of them have changed."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

from proxy.config.model import Config

OF_SERVER = (
    "host", "port", "admin_host", "admin_port", "max_connections", "max_head_kb", "header_timeout_s", "body_timeout_s",
    "min_body_kb_per_s", "write_timeout_s", "drain_timeout_s", "session_quiet_s",
)  # fmt: skip
AT_THE_TOP = ("store", "store_lease_share", "store_timeout_s", "ledger", "data_dir", "spool", "log")

_PATHS = (
    "store", "store_lease_share", "store_timeout_s", "ledger", "data_dir", "spool.mode", "spool.max_mb",
    "spool.keep_shipped_s", "log.sample",
    *(f"server.{name}" for name in OF_SERVER),
)  # fmt: skip


def needs_restart(running: Config, new: Config) -> list[str]:
    """Paths of the settings that differ and that a reload does not bring into force."""
    return [path for path in _PATHS if attrgetter(path)(running) != attrgetter(path)(new)]


def as_started(running: Config, new: Config) -> Config:
    """The new configuration with what only a start brings as it runs: a process that dies later is forked with it, and must
    neither write to another ledger than the others nor count elsewhere.
    """
    server = replace(new.server, **{name: getattr(running.server, name) for name in OF_SERVER})
    return replace(new, server=server, **{name: getattr(running, name) for name in AT_THE_TOP})
