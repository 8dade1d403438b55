"""One supervisor that forks the control process and the data planes, and keeps them running.

The supervisor holds what must outlive a child: the lock on the data directory, the listening socket, the configuration,
the embedded model. It imports neither FastAPI nor a database.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pricing.load import packaged_book
from pricing.values import slotted
from proxy.config.model import Config
from proxy.config.problems import ConfigError, Problem
from proxy.config.translation import translate_socket
from proxy.processes.exit_reason import exit_reason
from proxy.processes.garbage_collection import make_rare, pause
from proxy.processes.heaps import give_back
from proxy.processes.installed import OTHER_VERSION, is_another_version
from proxy.processes.not_installed import import_error_in, what_to_install
from proxy.processes.orders import InFile, Orders
from proxy.serve.at_start import as_started, needs_restart
from proxy.serve.reading_apart import load_apart
from proxy.serve.sockets import listen_at

if TYPE_CHECKING:
    from proxy.serve.local_model import LocalModel

log = logging.getLogger("taximeter")

_RESTART_PAUSE_S = 0.5
_KILL_AFTER_S = 10.0
_AGAIN_S = 1.0
_CANNOT_IMPORT = os.EX_UNAVAILABLE  # the exit code of a process that lacks a module: it would the next time, too
_NEXT_START = "what the ledger lacks then is in data_dir/spool, for the next start"
_TRANSLATE = "translate"
CONTROL = "control"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_BOTH_CHILDREN = (
    "uvloop", "proxy.budgets.totals", "proxy.downstream.connection", "proxy.processes.http_server",
    "proxy.processes.link", "proxy.spool.kept",
)  # fmt: skip
"""What the control process and the data planes import alike: once, before they are forked. What one of them needs alone is not
imported here: of what it writes to (half of it, as objects are counted in place) there would be two copies."""


def import_what_is_shared() -> None:
    """Once, for all that are forked."""
    for module in _BOTH_CHILDREN:
        importlib.import_module(module)
    packaged_book()  # a megabyte and a half


@slotted
class Child:
    """One supervised process. `start` runs in the fork and ends with it. listener: the socket that it serves."""

    name: str
    start: Callable[[Orders], None]
    listener: socket.socket
    orders: Orders = field(default_factory=Orders)
    pid: int = 0
    started_at: float = 0.0

    def send(self, number: signal.Signals) -> None:
        """To the process, if it is there. A signal to the supervisor comes also between a child's end and the note of it."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Supervisor:
    """Runs the children until a signal says stop; restarts one that dies; hands out a new configuration on SIGHUP."""

    def __init__(
        self,
        config: Config,
        config_path: Path | None,
        local: LocalModel | None,
        otherwise: Mapping[str, Any] | None = None,
    ) -> None:
        """otherwise: as `load_config` takes it."""
        self.config = config
        self._config_path = config_path
        self._otherwise = otherwise
        self._local = local
        self._children: list[Child] = []
        self._stopping = False
        self._killed = False
        self._reloading = False
        self._reload_asked = False
        self._translator: Path | None = None  # its socket
        self._code = 0
        self.has_begun = False  # each child was there once
        self.in_file = InFile()

    def add(self, name: str, start: Callable[[Orders], None], listener: socket.socket) -> None:
        self._children.append(Child(name, start, listener))

    def add_translators(self) -> list[Child]:
        """The processes that translate, once: where the configuration has upstreams for them. Raises ConfigError."""
        if self._translator is not None or not self.config.translates:
            return []
        path = Path(translate_socket(self.config.data_dir))
        listener = listen_at(path)
        self._translator = path

        def translate(orders: Orders) -> None:
            from proxy.translate.process import run  # 200 MB, and only this child needs it

            make_rare()
            run(self.config, listener, orders)

        made = Child(_TRANSLATE, translate, listener)
        self._children.append(made)
        return [made]

    def run(self) -> int:
        """Fork, watch, stop. The exit code: 0 after a stop that was asked for, 1 where a process could not be imported."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        import_what_is_shared()
        if self.config.store != "memory":
            importlib.import_module("proxy.budgets.redis.store")
        give_back()  # else each child has what is free in its own way
        make_rare()  # what is shared stays shared: no search touches it in the children
        for child in self._children:
            if not child.pid:  # a reload has begun it
                self._fork(child)
        self.has_begun = True
        while any(child.pid for child in self._children):
            self._wait()
        return self._code

    def _fork(self, child: Child) -> None:
        """Signals wait meanwhile: a reload would find a pipe without a reader; a child would hear them as the supervisor.
        Behind a stop nothing is begun: nobody would tell it to end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._stopping:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        child.orders.close()
        child.orders = Orders()
        child.started_at = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            child.pid = pid
            child.orders.for_supervisor()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return
        code = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            # A reload is the supervisor's. Whoever tells it to all by their name, as `killall` does, must break no call.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for other in self._children:
                other.orders.for_child(mine=other is child)
                if other.listener is not child.listener:
                    other.listener.close()
            pause()  # until it has imported what it needs
            with contextlib.suppress(OSError):  # for `ps` and `top`; only Linux has it
                Path("/proc/self/comm").write_text(f"taximeter-{child.name}"[:15], encoding="ascii")
            child.start(child.orders)
            code = 0
        except KeyboardInterrupt:
            code = 0
        except BaseException as error:  # noqa: BLE001 - said there
            code = _say_why(child.name, error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait(self) -> None:
        """Wait for a child to end. Signals are handled meanwhile, and Python then waits on (PEP 475)."""
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            for child in self._children:
                child.pid = 0
            return
        if self._local is not None and pid == self._local.pid and not self._stopping:
            log.error("the local model ended unexpectedly; calls to it fail until `taximeter serve` is started again")
        for child in self._children:
            if child.pid == pid:
                child.pid = 0
                if not self._stopping:
                    self._restart(child, status)
                    continue
                self._tell_of_end(child, status)
                if child.name.startswith("data"):
                    self._stop_control()

    def _restart(self, child: Child, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code == _CANNOT_IMPORT:
            self._do_without(child)
            return
        log.error("the %s process ended unexpectedly (%s); it is started again", child.name, exit_reason(code))
        if is_another_version():
            log.error("%s. Until then the %s process is made of parts of both", OTHER_VERSION, child.name)
        if time.monotonic() - child.started_at < 5:
            time.sleep(_RESTART_PAUSE_S)
        self._fork(child)

    def _tell_of_end(self, child: Child, status: int) -> None:
        """Of a stop: a process that did not come to its end, and was not killed from here."""
        code = os.waitstatus_to_exitcode(status)
        # One that was just begun has not learned yet what SIGTERM means.
        if code not in (0, -signal.SIGTERM, -signal.SIGINT) and not (self._killed and code == -signal.SIGKILL):
            log.error(
                "the %s process ended unexpectedly (%s) while it stopped; %s",
                child.name,
                exit_reason(code),
                _NEXT_START,
            )

    def _do_without(self, child: Child) -> None:
        """What cannot be imported is not started again. Without the translator all other calls go on; else everything ends."""
        if child.name == _TRANSLATE and self._translator is not None:
            self._translator.unlink(missing_ok=True)  # calls to it fail at once, they do not wait
            log.error("translated upstreams fail until `taximeter serve` is started again")
        else:
            self._code = 1
            self._on_stop()

    def _on_stop(self, *_: object) -> None:
        """Data planes first: they drain and settle; the control process ships what they wrote, then stops too."""
        if self._stopping:
            self._kill("as a second stop was asked for")
            return
        self._stopping = True
        signal.signal(signal.SIGALRM, lambda *_: self._kill("as they had not ended in time after the stop"))
        # Again and again: one that comes right before a wait is heard with the next.
        signal.setitimer(signal.ITIMER_REAL, self.config.server.drain_timeout_s + _KILL_AFTER_S, _AGAIN_S)
        for child in self._children:
            if child.name.startswith("data"):
                child.listener.close()  # else the system accepts for it whom nobody answers, once no data plane is left
                child.send(signal.SIGTERM)
        self._stop_control()

    def _stop_control(self) -> None:
        if any(child.pid for child in self._children if child.name.startswith("data")):
            return
        for child in self._children:
            child.listener.close()
            child.send(signal.SIGTERM)

    def _kill(self, why: str) -> None:
        left = [child for child in self._children if child.pid]
        for child in left:
            child.send(signal.SIGKILL)
        if left and not self._killed:
            self._killed = True
            log.error("killed, %s: %s; %s", why, ", ".join(child.name for child in left), _NEXT_START)

    def _on_reload(self, *_: object) -> None:
        """A signal that comes while a reload is under way has its reload afterwards: two must not write to one pipe."""
        self._reload_asked = True
        if self._reloading:
            return
        self._reloading = True
        try:
            while self._reload_asked:
                self._reload_asked = False
                self._reload()
        finally:
            self._reloading = False

    def _reload(self) -> None:
        if self._config_path is None:
            log.warning("there is no configuration file to reload")
            return
        try:
            config, warnings, names_none = load_apart(
                self._config_path, os.environ, self._otherwise, is_over=lambda: self._stopping
            )
        except ConfigError as error:
            self._refuse(error.problems)
            return
        except Exception as error:  # noqa: BLE001 - it must not end what serves
            missing = import_error_in(error)
            why = what_to_install(missing) if missing else None
            if why is None:  # what the error says may be a secret
                why = f"the configuration cannot be read, by a fault of Taximeter ({type(error).__name__})"
                log.error("%s:\n%s", why, "".join(getattr(error, "__notes__", ())))
            self._refuse([Problem("", why)])
            return
        if names_none and self.config.upstreams and self._otherwise is None:
            why = "are all gone from the file, as while it is being written; start Taximeter again where it is meant"
            self._refuse([Problem("upstreams", why)])
            return
        for warning in warnings:
            log.warning("%s", warning)
        waiting = needs_restart(self.config, config)
        for setting in waiting:
            log.warning(
                "%s is changed in the file, but is read at the start only: start Taximeter again for it", setting
            )
        config = self.config = as_started(self.config, config)
        for child in self._children:
            if child.pid:  # one that is not there yet is forked with the new configuration
                child.orders.send(config)
        self._tell_of_file(InFile(restart=tuple(waiting)))
        try:
            for child in self.add_translators():
                self._fork(child)
        except ConfigError as error:
            log.error("translated upstreams fail until Taximeter is started again: %s", error)
        log.info("the new configuration is in force")

    def _refuse(self, problems: Sequence[Problem]) -> None:
        refused = tuple(map(str, problems))
        log.error("the new configuration is not taken, the old one stays:\n%s", "\n".join(refused))
        self._tell_of_file(InFile(refused=refused))

    def _tell_of_file(self, in_file: InFile) -> None:
        """The control process, which people and machines ask; one that is not there yet is forked with it."""
        self.in_file = in_file
        for child in self._children:
            if child.pid and child.name == CONTROL:
                child.orders.send(in_file)


def _say_why(name: str, error: BaseException) -> int:
    """Why the process called `name` failed, in the log; its exit code."""
    missing = import_error_in(error)
    sentence = what_to_install(missing, name if name == _TRANSLATE else "") if missing else None
    if isinstance(error, ConfigError):
        sentence = f"{name}: {error}"
    if sentence is None:
        log.error("%s failed", name, exc_info=error)
    else:
        log.error("%s", sentence)
    return _CANNOT_IMPORT if missing else 1
