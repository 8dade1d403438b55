"""The configuration is read in a process of its own, which ends with that: pydantic, PyYAML and the checks, 11 MB in three
processes, are of no use to any call."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from proxy.config.model import Loaded

T = TypeVar("T")


def load_apart(
    path: Path | None,
    environ: Mapping[str, str],
    otherwise: Mapping[str, Any] | None = None,
    *,
    meanwhile: Callable[[], object] = lambda: None,
) -> Loaded:
    """What `load_config` returns, or raises. meanwhile: what this process does until it is read."""

    def load() -> Loaded:
        from proxy.config.checks import load_config  # noqa: PLC0415 - there alone

        return load_config(path, environ, otherwise)

    return in_a_fork(load, meanwhile)


def in_a_fork(work: Callable[[], T], meanwhile: Callable[[], object]) -> T:
    """What `work` returns or raises, done in a fork of this process, which hears no signal as this one would."""
    reader, writer = Pipe(duplex=False)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if not pid:
        _answer(work, writer)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    writer.close()
    try:
        meanwhile()
        done: T | Exception = reader.recv()
    except EOFError:
        done = RuntimeError("the process that reads the configuration ended before it had read it")
    finally:
        reader.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)  # it has nothing more to say, or nobody waits for it
            os.waitpid(pid, 0)
    if isinstance(done, Exception):
        raise done
    return done


def _answer(work: Callable[[], T], writer: Connection) -> None:
    """The fork's part, with which it ends."""
    with contextlib.suppress(BaseException):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        try:
            done: T | Exception = work()
        except Exception as error:  # noqa: BLE001 - raised there
            error.add_note(traceback.format_exc())
            done = error
        writer.send_bytes(pickle.dumps(done))
    os._exit(0)
