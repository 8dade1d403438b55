"""The folder that holds what is not in the ledger yet: ours alone, and one instance's at a time.

Who can write in it can make up calls that were never made, so it is taken only where nobody else can.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from pathlib import Path

from proxy.config.problems import ConfigError, Problem

log = logging.getLogger("taximeter.supervisor")

# How long processes of an instance that was killed take to notice, at most; they hold its lock until then.
_ENDING_S = 3.0
_WHO_WRITES = "give the user that runs this the right to (chown, chmod), or see whether the disk is mounted read-only"
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_data_dir(path: Path) -> None:
    """The folder, made where it is missing. Raises ConfigError where others can write in it, or have."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise ConfigError([Problem("data_dir", f"{path} cannot be made: {error.strerror}")]) from None
    if not status.st_mode & _OTHERS_MAY_WRITE:
        return
    if status.st_uid != os.geteuid():
        if status.st_mode & stat.S_IWOTH:
            advice = "everybody can write in it and it is not ours; name a folder in it, which is made with mode 0700"
            raise ConfigError([Problem("data_dir", f"{path}: {advice}")])
        log.warning("data_dir %s can be written by its group, which could forge calls; set its mode to 0700", path)
        return
    if strangers := [
        entry.name for entry in _entries(path) if entry.stat(follow_symlinks=False).st_uid != status.st_uid
    ]:
        advice = f"others can write in it, and have ({strangers[0]}); look at that, then chmod 0700"
        raise ConfigError([Problem("data_dir", f"{path}: {advice}")])
    path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS_MAY_WRITE)
    log.warning("data_dir %s could be written by others; their permission to write was removed", path)


def _entries(path: Path) -> list[os.DirEntry[str]]:
    children = []
    for folder in (path, path / "spool"):
        if folder.is_dir():
            with os.scandir(folder) as entries:
                children += list(entries)
    return children


def lock_data_dir(path: Path, *, wait: bool = False, patience_s: float = _ENDING_S) -> int:
    """Hold `path` for this instance; the descriptor keeps the lock. Where another has it: wait, or raise ConfigError.

    Children inherit the lock: it is free when the last process of an instance is gone, however that ended. Who starts right
    behind a kill meets them still ending: `patience_s` is for those, and only for who does not wait anyway. The number of this
    process stands in the lock, for who wants to send it a signal.
    """
    make_data_dir(path)
    try:
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError([Problem("data_dir", f"{path}/lock cannot be opened: {error.strerror}")]) from None
    if not _locked_within(fd, 0.0 if wait else patience_s):
        if not wait:
            os.close(fd)
            raise ConfigError([Problem("data_dir", f"{path} is in use by another running instance")])
        log.info("data_dir %s is in use by another running instance: standing by to take over", path)
        fcntl.flock(fd, fcntl.LOCK_EX)
        log.warning("data_dir %s is free: taking over", path)
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def _locked_within(fd: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
        else:
            return True


def check_ledger_folder(url: str) -> None:
    """Raises ConfigError where the file of a SQLite ledger can neither be written nor made."""
    if not url.startswith("sqlite:///"):
        return
    path = Path(url.removeprefix("sqlite:///").partition("?")[0])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([Problem("ledger", f"{path.parent} cannot be made: {error.strerror}")]) from None
    if path.is_dir():
        raise ConfigError([Problem("ledger", f"{path} is a folder; name a file")])
    if path.exists() and not os.access(path, os.W_OK):
        raise ConfigError([Problem("ledger", f"{path} cannot be written: {_WHO_WRITES}")])
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(
            [Problem("ledger", f"{path.parent} cannot be written, and SQLite keeps files there: {_WHO_WRITES}")]
        )
