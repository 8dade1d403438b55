"""The ledger's audit as a server makes it: one at a time, by a process of its own that the recorder does not notice."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from pricing.values import frozen
from proxy.control.state import ControlState, Unavailable
from proxy.ledger.audit.difference import Difference
from proxy.ledger.audit.store import Counters, StoreAway, compare_store, counters_of, ledger_counters
from proxy.ledger.audit.verify import Report
from proxy.times import now_s, now_us

log = logging.getLogger("taximeter.control")


@frozen
class AuditStatus:
    """How far the latest audit is; `result` where it came to an end, `error` where it could not. Epoch microseconds."""

    state: Literal["never", "running", "done", "failed"] = "never"
    started_at: int | None = None
    ended_at: int | None = None
    entries: int = 0
    entries_done: int = 0
    result: dict[str, Any] | None = None
    error: str | None = None


class Auditor:
    """Starts an audit and says how far it is. Called from handlers' threads."""

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._starting = threading.Lock()
        self._status = AuditStatus()

    def status(self) -> AuditStatus:
        return self._status

    def start(self) -> AuditStatus:
        """The one that begins now, or the one that runs."""
        with self._starting:
            if self._status.state != "running":
                self._status = AuditStatus("running", now_us())
                threading.Thread(target=self._run, name="audit", daemon=True).start()
            return self._status

    def _run(self) -> None:
        try:
            result = self._report().result(self._compare_store)
        except (OSError, SQLAlchemyError, ValueError, KeyError) as error:
            log.warning("verify: %s", error)
            self._has_failed(str(error) if isinstance(error, _FailedError) else type(error).__name__)
        except Exception as error:  # a fault of ours: else this audit seems to run for ever, and none begins after it
            log.exception("verify")
            self._has_failed(type(error).__name__)
        else:
            self._status = replace(self._status, state="done", result=result, ended_at=now_us())

    def _has_failed(self, why: str) -> None:
        self._status = replace(self._status, state="failed", error=why, ended_at=now_us())

    def _report(self) -> Report:
        """What the process finds. Raises `_FailedError` where it finds nothing."""
        # The one that is open: another one in a reloaded configuration waits for a restart.
        ledger = self._state.engine.url.render_as_string(hide_password=False)
        question = {"ledger": ledger, "spool": str(Path(self._state.config().data_dir) / "spool")}
        command = [sys.executable, "-P", "-m", "proxy.ledger.audit"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own interpreter and module
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it ended at once, and is told so below
                # A password is in it: not in arguments.
                os.write(process.stdin.fileno(), json.dumps(question).encode() + b"\n")
            for line in process.stdout:
                message = json.loads(line)
                if "failed" in message:
                    raise _FailedError(message["failed"])
                if report := message.get("report"):
                    difference = report["difference"]
                    return Report(
                        report["counted"],
                        report["entries_since_at"],
                        None if difference is None else Difference(*difference),
                    )
                self._status = replace(self._status, entries=message["whole"], entries_done=message["done"])
        raise _FailedError(f"the audit's process ended with status {process.returncode}")

    def _compare_store(self) -> tuple[str, Difference | None]:
        state = self._state
        if not state.budgets():
            return "there are no budgets", None
        return compare_store(lambda: ledger_counters(state.engine, state.budgets()), self._store_counters)

    def _store_counters(self) -> Counters:
        try:
            rows = self._state.standings()
        except Unavailable as problem:
            raise StoreAway(str(problem)) from None
        now = now_s()
        current = {(budget.name, budget.window_now(now)[0]) for budget in self._state.budgets()}
        return counters_of(row for row in rows if (row["budget"], row["window_start"]) in current)


class _FailedError(ValueError):
    """There is no result; the message says why."""
