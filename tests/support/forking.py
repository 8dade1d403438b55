"""Tests on several cores (`-n 6`): they are collected once, then this process is forked, and each fork runs what it is dealt.

Workers of pytest-xdist each import and collect all tests: a quarter of what `make quick` took.

No test is lost: one whose worker ends in it has failed, the others that it was dealt go to a new worker, and a test of which nothing
was told in the end has failed. What goes wrong outside of tests interrupts the run (status 2): running tests again proves nothing then.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import pytest
from _pytest._io import TerminalWriter

Told = tuple[str, Any]
"""What a worker tells: "next", it begins the last test that it was dealt; "test", the reports of one that is done; "warning";
"trouble", what went wrong outside of tests."""


@dataclass(slots=True)
class Worker:
    """A fork, as the process sees it that deals the tests. dealt: what it has yet to run, or runs. trouble: it has told of some."""

    name: str
    pid: int
    pipe: Connection
    dealt: deque[pytest.Item]
    trouble: bool = False


class Dealer:
    """Deals scopes of tests, in their order, and passes on what workers report of them."""

    def __init__(
        self, session: pytest.Session, scopes: Sequence[Sequence[pytest.Item]], began: Callable[[], None]
    ) -> None:
        self._session, self._began = session, began
        self._scopes = deque(scopes)
        self._hook = session.config.hook
        self._places = {item: place for place, item in enumerate(session.items)}
        self._untold = dict.fromkeys(session.items)
        self._trouble = False
        self._told_to_stop = False
        self._workers: dict[Connection, Worker] = {}
        self._forked = 0
        self._folder = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]

    def run(self, workers: int) -> None:
        assert threading.active_count() == 1, "a test's file starts a thread when it is imported: forks would lack it"
        reporter: Any = self._session.config.pluginmanager.getplugin("terminalreporter")
        if reporter:
            reporter.showfspath = False  # files are under way beside each other
        for _ in range(min(workers, len(self._scopes))):
            self._fork()
        try:
            while self._workers:
                for pipe in wait(list(self._workers)):
                    self._take(self._workers[pipe])  # type: ignore[index]  # they are the pipes that it was given
        finally:  # interrupted: they take down what their tests stand on
            for pipe in self._workers:
                pipe.close()
            for worker in self._workers.values():
                os.waitpid(worker.pid, 0)
        self._end()

    def _end(self) -> None:
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)
        for item in self._untold:
            self._failed(item.nodeid, "no worker told what became of it")
        if self._trouble or self._untold:
            raise self._session.Interrupted("something went wrong outside of tests: see above")

    def _fork(self) -> None:
        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        name = f"worker-{self._forked}"
        self._forked += 1
        pid = os.fork()
        if not pid:
            try:
                for pipe in (ours, *self._workers):
                    pipe.close()
                os.register_at_fork(after_in_child=theirs.close)  # else what a test forks would seem to be the worker
                self._began()
                work(self._session, theirs, self._folder / name, name)
            finally:
                os._exit(1)
        theirs.close()
        self._workers[ours] = worker = Worker(name, pid, ours, deque())
        self._deal(worker)

    def _deal(self, worker: Worker) -> None:
        """Its next tests; none: it ends."""
        scope = self._scopes.popleft() if self._scopes and not self._stops() else ()
        worker.dealt.extend(scope)
        self._send(worker, [self._places[item] for item in scope])

    def _send(self, worker: Worker, places: list[int]) -> None:
        with contextlib.suppress(ConnectionError):  # it has ended: that is what its pipe says next
            worker.pipe.send(places)

    def _stops(self) -> bool:
        """Enough has failed (`-x`)."""
        return bool(self._session.shouldfail or self._session.shouldstop)

    def _take(self, worker: Worker) -> None:
        try:
            what, told = worker.pipe.recv()
        except (EOFError, OSError):  # OSError: in the middle of what it told
            self._ended(worker)
            return
        if what == "next":
            self._deal(worker)
        elif what == "test":
            del self._untold[worker.dealt.popleft()]
            for data in told:
                report = self._hook.pytest_report_from_serializable(config=self._session.config, data=data)
                self._hook.pytest_runtest_logreport(report=report)
            if self._stops() and not self._told_to_stop:
                self._told_to_stop = True
                for one in self._workers.values():
                    self._send(one, [])
        elif what == "warning":
            self._hook.pytest_warning_recorded.call_historic(kwargs=told)
        else:
            self._has_trouble(worker, told)

    def _ended(self, worker: Worker) -> None:
        del self._workers[worker.pipe]
        worker.pipe.close()
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if worker.dealt and not self._stops():
            item = worker.dealt.popleft()
            del self._untold[item]
            self._failed(item.nodeid, f"{worker.name} ended with {code} in this test")
            if worker.dealt:
                self._scopes.appendleft(tuple(worker.dealt))
            if self._scopes:
                self._fork()
        elif code and not worker.trouble:
            self._has_trouble(worker, f"{worker.name} ended with {code} after its last test")

    def _has_trouble(self, worker: Worker, what: str) -> None:
        self._trouble = worker.trouble = True
        self._failed(worker.name, what)

    def _failed(self, nodeid: str, why: str) -> None:
        where = nodeid.partition("::")[0]
        report = pytest.TestReport(nodeid, (where, None, nodeid), {}, "failed", why, "call")
        self._hook.pytest_runtest_logreport(report=report)


class Quiet:
    """Stands in a worker for pytest's reporter: what others write to it is captured with the test (pytest-timeout's stacks)."""

    stats: Mapping[str, Any] = {}

    @property
    def _tw(self) -> TerminalWriter:
        return TerminalWriter(sys.stderr)


class Telling:
    """A plugin of a worker's: what its tests report goes to the process that deals them."""

    def __init__(self, config: pytest.Config, pipe: Connection) -> None:
        self._config, self.pipe = config, pipe
        self.reports: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        text = pytest.PytestWarning(f"{warning_message.category.__name__}: {warning_message.message}")
        plain = warnings.WarningMessage(text, type(text), warning_message.filename, warning_message.lineno)
        told = {"warning_message": plain, "when": when, "nodeid": nodeid, "location": location}
        self.pipe.send(("warning", told))

    def done(self) -> None:
        self.pipe.send(("test", self.reports))
        self.reports = []


def work(session: pytest.Session, pipe: Connection, folder: Any, name: str) -> None:
    """A fork's life; it does not return."""
    code = 1
    try:
        telling = _become_worker(session, pipe, folder, name)
        try:
            _run_dealt(session, telling)
        finally:
            session.config.hook.pytest_sessionfinish(session=session, exitstatus=session.exitstatus)
            session.config._ensure_unconfigure()
        code = 0
    except KeyboardInterrupt:
        pass
    except BaseException:
        with contextlib.suppress(ConnectionError):  # whoever deals has ended
            pipe.send(("trouble", traceback.format_exc()))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become_worker(session: pytest.Session, pipe: Connection, folder: Any, name: str) -> Telling:
    config: Any = session.config
    config.workerinput = {"workerid": name}  # pytest's own plugins write no cache where this is
    folder.mkdir()
    config._tmp_path_factory._basetemp = folder
    random.seed()
    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(Quiet(), "terminalreporter")
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # into a file that all forks share
    capture.start_global_capturing()
    capture.suspend_global_capture()
    telling = Telling(config, pipe)
    config.pluginmanager.register(telling)
    return telling


def _run_dealt(session: pytest.Session, telling: Telling) -> None:
    items, run, pipe = session.items, session.config.hook.pytest_runtest_protocol, telling.pipe
    dealt = pipe.recv()
    # A word that was not asked for says that enough has failed.
    while dealt and not (session.shouldfail or session.shouldstop or pipe.poll()):
        item = items[dealt.pop(0)]
        if not dealt:  # what the test stands on is taken down after it, unless the next stands on it too
            pipe.send(("next", None))
            dealt = pipe.recv()
        run(item=item, nextitem=items[dealt[0]] if dealt else None)
        telling.done()
