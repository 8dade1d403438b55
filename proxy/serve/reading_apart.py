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
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from proxy.config.problems import ConfigError, Problem
from proxy.processes.exit_reason import exit_reason
from proxy.processes.installed import OTHER_VERSION, is_another_version

if TYPE_CHECKING:
    from proxy.config.model import Loaded

T = TypeVar("T")

_LOOK_S = 0.5


def _nothing() -> None:
    pass


def load_apart(
    path: Path | None,
    environ: Mapping[str, str],
    otherwise: Mapping[str, Any] | None = None,
    *,
    meanwhile: Callable[[], object] = _nothing,
    is_over: Callable[[], object] = _nothing,
) -> Loaded:
    """What `load_config` returns, or raises. meanwhile: what this process does until it is read. is_over: whether nobody wants
    it any more, be it that the file, or one that it names, never ends."""

    def load() -> Loaded:
        try:
            from proxy.config.checks import load_config  # noqa: PLC0415 - there alone

            return load_config(path, environ, otherwise)
        finally:
            if is_another_version():  # half of the rules would be the new ones, and half those of before
                raise ConfigError([Problem("", OTHER_VERSION)])

    return in_a_fork(load, meanwhile, is_over)


def in_a_fork(work: Callable[[], T], meanwhile: Callable[[], object], is_over: Callable[[], object] = _nothing) -> T:
    """What `work` returns or raises, done in a fork of this process, which hears no signal as this one would. Raises
    ConfigError where there is none, or it ends before that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        reader, writer = Pipe(duplex=False)
        pid = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        why = f"no process can be begun that reads it ({error.strerror})"
        raise _cannot(f"{why}; free memory, or raise `ulimit -n` or `ulimit -u`") from None
    if not pid:
        _answer(work, writer)
    done: T | Exception | None = None
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        writer.close()
        meanwhile()
        while not reader.poll(_LOOK_S):
            if is_over():
                raise _cannot("it was still being read when the stop came")
        with contextlib.suppress(EOFError):
            done = reader.recv()
    finally:
        reader.close()
        os.kill(pid, signal.SIGKILL)  # it has nothing more to say, or nobody waits for it
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if done is None:
        raise _cannot(f"the process that reads it ended before it had ({exit_reason(code)}); try it again")
    if isinstance(done, MemoryError):
        raise _cannot("memory ran out meanwhile; free some, or raise its limit")
    if isinstance(done, Exception):
        raise done
    return done


def _cannot(why: str) -> ConfigError:
    return ConfigError([Problem("", f"the configuration cannot be read: {why}")])


def _answer(work: Callable[[], T], writer: Connection) -> NoReturn:
    """The fork's part, with which it ends."""
    code = 1
    with contextlib.suppress(BaseException):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        try:
            done: T | Exception = work()
        except Exception as error:  # noqa: BLE001 - raised there
            error.add_note("".join(traceback.format_tb(error.__traceback__)))
            done = error
        writer.send_bytes(pickle.dumps(done))
        code = 0
    os._exit(code)
