"""Tests on several cores (`-n 6`): they are collected once, then this process is forked, and each fork runs what it is dealt.

Workers of pytest-xdist each import and collect all tests: a quarter of what `make quick` took.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import pytest

Told = tuple[str, Any]
"""What a worker tells: "next", it begins the last test that it was dealt; "test", the reports of one that is done; "warning";
"trouble", what went wrong outside of tests."""


@dataclass(slots=True)
class Worker:
    """A fork, as the process sees it that deals the tests. dealt: what it has yet to run, or runs."""

    name: str
    pid: int
    pipe: Connection
    dealt: deque[pytest.Item]


class Dealer:
    """Deals scopes of tests, in their order, and passes on what workers report of them."""

    def __init__(
        self, session: pytest.Session, scopes: Sequence[Sequence[pytest.Item]], began: Callable[[], None]
    ) -> None:
        self._session, self._began = session, began
        self._scopes = deque(scopes)
        self._hook = session.config.hook
        self._places = {item: place for place, item in enumerate(session.items)}
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
        finally:
            for pipe in self._workers:
                pipe.close()

    def _fork(self) -> None:
        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        name = f"worker-{self._forked}"
        self._forked += 1
        pid = os.fork()
        if not pid:
            for pipe in (ours, *self._workers):
                pipe.close()
            self._began()
            work(self._session, theirs, self._folder / name, name)
        theirs.close()
        self._workers[ours] = worker = Worker(name, pid, ours, deque())
        self._deal(worker)

    def _deal(self, worker: Worker) -> None:
        """Its next tests; none: it ends."""
        scope = self._scopes.popleft() if self._scopes and not self._stops() else ()
        worker.dealt.extend(scope)
        worker.pipe.send([self._places[item] for item in scope])

    def _stops(self) -> bool:
        """Enough has failed (`-x`)."""
        return bool(self._session.shouldfail or self._session.shouldstop)

    def _take(self, worker: Worker) -> None:
        try:
            what, told = worker.pipe.recv()
        except (EOFError, ConnectionError):
            self._ended(worker)
            return
        if what == "next":
            self._deal(worker)
        elif what == "test":
            worker.dealt.popleft()
            for data in told:
                report = self._hook.pytest_report_from_serializable(config=self._session.config, data=data)
                self._hook.pytest_runtest_logreport(report=report)
        elif what == "warning":
            self._hook.pytest_warning_recorded.call_historic(kwargs=told)
        else:
            self._failed(worker.name, told)

    def _ended(self, worker: Worker) -> None:
        del self._workers[worker.pipe]
        worker.pipe.close()
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        if worker.dealt and not self._stops():
            item = worker.dealt.popleft()
            self._failed(item.nodeid, f"{worker.name} ended with {code} in this test")
            if worker.dealt:
                self._scopes.appendleft(tuple(worker.dealt))
            if self._scopes:
                self._fork()
        elif code:
            self._failed(worker.name, f"{worker.name} ended with {code} after its last test")

    def _failed(self, nodeid: str, why: str) -> None:
        where = nodeid.partition("::")[0]
        report = pytest.TestReport(nodeid, (where, None, nodeid), {}, "failed", why, "call")
        self._hook.pytest_runtest_logreport(report=report)


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
        _run_dealt(session, telling)
        session.config.hook.pytest_sessionfinish(session=session, exitstatus=session.exitstatus)
        session.config._ensure_unconfigure()
        code = 0
    except EOFError:  # whoever deals has ended
        pass
    except BaseException:
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
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()  # into a file that all forks share
    capture.start_global_capturing()
    capture.suspend_global_capture()
    telling = Telling(config, pipe)
    config.pluginmanager.register(telling)
    return telling


def _run_dealt(session: pytest.Session, telling: Telling) -> None:
    items, run = session.items, session.config.hook.pytest_runtest_protocol
    dealt = telling.pipe.recv()
    while dealt and not (session.shouldfail or session.shouldstop):
        item = items[dealt.pop(0)]
        if not dealt:  # what the test stands on is taken down after it, unless the next stands on it too
            telling.pipe.send(("next", None))
            dealt = telling.pipe.recv()
        run(item=item, nextitem=items[dealt[0]] if dealt else None)
        telling.done()
