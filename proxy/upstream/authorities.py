"""The authorities by which providers' certificates are checked: the system's list, as it is on the disk now."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from proxy.times import machine_s

log = logging.getLogger("taximeter.data")

_BEING_WRITTEN_S = 2.0


class _Place(NamedTuple):
    """A file or folder: which it is, how long, and when it was changed last."""

    inode: int
    size: int
    changed_ns: int


class Authorities:
    """The list may be renewed while this process lives. One that is gone, names nobody, or is being written does not take the
    place of one that named some: all calls would fail."""

    def __init__(self, wall: Callable[[], float] = machine_s) -> None:
        self._wall = wall
        self._context: ssl.SSLContext | None = None
        self._read: tuple[_Place, ...] = ()

    def context(self) -> ssl.SSLContext:
        """For a new connection. Raises OSError where there never was one."""
        there = _places()  # before it is read: what is written meanwhile is another one
        if self._context is None:
            self._context, self._read = _load(), there
        elif there != self._read and not any(self._is_being_written(place) for place in there):
            self._read = there
            self._take()
        return self._context

    def _is_being_written(self, place: _Place) -> bool:
        return 0 <= self._wall() - place.changed_ns / 1e9 < _BEING_WRITTEN_S

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            context = _load()
            if _names(context) or not _names(self._context):
                self._context = context
                return
        log.warning(
            "the system's list of authorities is gone, or names none any more (SSL_CERT_FILE, /etc/ssl/certs); calls to "
            "providers go on with the one before, until this process ends: put it back"
        )  # fmt: skip


def _places() -> tuple[_Place, ...]:
    paths, places = ssl.get_default_verify_paths(), []  # of those that are there
    for path in filter(None, (paths.cafile, paths.capath)):
        with contextlib.suppress(OSError):
            stat = Path(path).stat()
            places.append(_Place(stat.st_ino, stat.st_size, stat.st_ctime_ns))
    return tuple(places)


def _load() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _names(context: ssl.SSLContext | None) -> int:
    """How many; those of a folder are looked up as they are needed, and not among them."""
    return context.cert_store_stats()["x509_ca"] if context is not None else 0
