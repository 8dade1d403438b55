"""The sockets that the supervisor listens at, made before anything is forked."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from proxy.config.problems import ConfigError, Problem

_OF_A_PORT = (errno.EADDRINUSE, errno.EACCES)


def listen(host: str, port: int, path: str) -> socket.socket:
    """A bound listening socket. path: the setting of its port. Raises ConfigError, naming the setting that is at fault: the
    host where it is no address of this machine, else the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        at_fault = path if error.errno in _OF_A_PORT else f"{path.removesuffix('port')}host"
        raise ConfigError([Problem(at_fault, f"cannot listen on {host}:{port}: {error.strerror}")]) from None
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
