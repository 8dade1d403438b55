"""The sockets that the supervisor listens at, made before anything is forked."""

from __future__ import annotations

import socket
from pathlib import Path

from proxy.config.file import ConfigError, Problem


def listen(host: str, port: int, path: str) -> socket.socket:
    """A bound listening socket. Raises ConfigError, naming the setting, where the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError([Problem(path, f"cannot listen on {host}:{port}: {error.strerror}")]) from None
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def listen_at(path: Path) -> socket.socket:
    """A listening unix socket that only this user can reach. Raises ConfigError where its path cannot be one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise ConfigError([Problem("data_dir", f"cannot hold the socket {path}: {error}")]) from None
    path.chmod(0o600)
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener
