"""The control process: recorder, API, metrics, and the link to the data planes.

At start it first ships what an earlier life left in the spool, then tells the data planes what is spent: only then do they
serve, so that no budget is ever forgotten by a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxy.budgets.budget import Budget
from proxy.config.model import Config
from proxy.control.admin_server import admin_server
from proxy.control.alerts import Alerts
from proxy.control.answers import Answer, answers
from proxy.control.away import LEDGER, RECORDS, answering_what_is_missing
from proxy.control.banner import Where
from proxy.control.charges import Charges, unknown_charges
from proxy.control.ending import end_behind
from proxy.control.lives import earlier_are_told
from proxy.control.made import Made
from proxy.control.metrics.series import MetricState
from proxy.control.opening import is_empty, opened, say_that_it_is_another
from proxy.control.recording import Recording
from proxy.control.resources import InForce, Resources
from proxy.downstream.connection import check_times
from proxy.ledger.database import let_go
from proxy.ledger.entries.entry import Shipped
from proxy.ledger.planes import instances, keys
from proxy.ledger.planes.definitions import take_definitions
from proxy.ledger.recording.batch import RefusedCall
from proxy.ledger.recording.initial_state import InitialState, initial_state
from proxy.ledger.recording.outage import GivenUpError, why_not_written
from proxy.ledger.recording.recorder import Recorder
from proxy.processes.heaps import Rest, give_back
from proxy.processes.http_server import Server
from proxy.processes.link import ControlServer
from proxy.processes.log import call_logger
from proxy.processes.orders import InFile, Orders
from proxy.spool.kept import Kept
from proxy.times import now_s

if TYPE_CHECKING:
    from proxy.control.rebuilding import SharedBudgets
    from proxy.control.services import Services
    from proxy.control.start import Beginning

log = logging.getLogger("taximeter.control")
T = TypeVar("T")

_TICK_S = 1.0
_POLL_RUNS_S = 0.02
_STORE_WAIT_S = 1.0
_FIRST_KEY = "first"


class Control:
    """The whole of it. `start.py` makes one."""

    def __init__(
        self, config: Config, listener: socket.socket, data_port: int, orders: Orders, *, announce: bool, workers: int
    ) -> None:
        self.config = config
        self._workers = workers
        self._listener = listener
        self._data_port = data_port
        self._orders = orders
        self._announce = announce
        self._stop = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._data_dir = Path(config.data_dir)
        self._instance = instances.name_of(self._data_dir)
        self._services: Services | None = None  # until the data planes serve
        self._first_key: str | None = None
        self._answers: Mapping[str, Answer] = {}
        self._charges = Charges()
        self._ending: asyncio.Task[None] | None = None
        self.in_file = InFile()
        self.has_served = self.is_spool_empty = False
        self._made = Made(lambda: self._engine, self._tell)

    async def serve(self, beginning: Beginning | None = None) -> None:
        """Start from the ledger up, and end in the reverse order: nothing goes before what stands on it. Should a task fail,
        everything ends with it, and the supervisor starts the process again. beginning: where data planes serve already."""
        loop = asyncio.get_running_loop()
        if beginning is not None:
            self._stop = beginning.stop
        loop.add_signal_handler(signal.SIGTERM, self._told_to_end, beginning.link if beginning else None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._orders.watch(on_config=self._take, on_parent_gone=self._stop.set)
        async with contextlib.AsyncExitStack() as ending:
            engine = await self._opened(beginning)
            if engine is None:
                return
            self._engine = engine
            path = self._data_dir / "control.sock"
            link = self._link = (
                beginning.link if beginning else ControlServer(path, self._first_snapshot, self._answers)
            )
            loop.add_signal_handler(signal.SIGTERM, self._told_to_end, link)
            try:
                await self._open(ending)
            except GivenUpError:
                log.warning("the ledger database is still away: the next start ships what is left in the spool")
                return
            self._made.begin()
            self._start_recorder(ending)
            tasks = await ending.enter_async_context(asyncio.TaskGroup())
            if self._shared is not None:  # an earlier life may have ended between a definition and this
                seeding = self._seed_defined(now_s()) if self._defines_later else self._shared.seed()
                ending.callback(tasks.create_task(seeding).cancel)
            if self.config.capacity or self.config.exports:  # their books and places begin before the first call
                await self._begin_services(loop)
            ending.push_async_callback(link.stop)
            if beginning is None:
                await link.start()
                await link.all_serve(self._workers, _TICK_S)  # on a small machine the data planes need the time
            else:
                beginning.hand_over(self._first_snapshot)
                await self._push_seeds()
            services = self._services or await self._begin_services(loop)
            server = admin_server(services.front, self.config.server)
            serving = tasks.create_task(server.serve([self._listener]))
            ending.push_async_callback(self._end_serving, server, serving)
            for work in (self._look_after(server), self._made.watch(), self._seed_when_reloaded(), *services.works()):
                ending.callback(tasks.create_task(work).cancel)
            self._say_where()
            await self._stop.wait()

    def _told_to_end(self, link: ControlServer | None) -> None:
        self._ending = asyncio.create_task(end_behind(link, self._stop))

    async def _opened(self, beginning: Beginning | None) -> Engine | None:
        def is_readable(engine: Engine) -> None:
            self._answers = answers(engine, lambda: self.config)
            if beginning is not None:
                beginning.answer(self._answers)

        meanwhile = answering_what_is_missing(self._listener, self.config.server, lambda: LEDGER)
        return await opened(self.config.ledger, self._instance, self._data_dir, is_readable, meanwhile, self._stop)

    async def _open(self, ending: contextlib.AsyncExitStack) -> None:
        """The ledger, with all that an earlier life left, and the definitions of budgets since. Raises GivenUpError."""
        engine = self._engine
        ending.callback(engine.dispose)
        self._made.begin()
        self._metrics = MetricState.load(engine, self._instance, self.config.server.session_quiet_s)
        shared = self._shared = self._share(engine) if self.config.store != "memory" else None
        self._alerts = Alerts(engine, self._instance, lambda: self.config, self.budgets)
        recorder = self._recorder = self._make_recorder(engine)
        if shared is not None:
            shared.recorder = recorder
            await shared.heartbeat.beat()
            sharing = shared.start()
            ending.push_async_callback(shared.leave)
            ending.callback(sharing.cancel)
        # In a thread, as all that writes: somebody may have locked the database, and data planes ask meanwhile.
        completing = asyncio.create_task(asyncio.to_thread(self._complete, self.budgets()))
        if not (await asyncio.wait([completing], timeout=_TICK_S))[0]:
            async with answering_what_is_missing(
                self._listener, self.config.server, lambda: LEDGER if recorder.database_down_since else RECORDS
            ):
                await asyncio.wait([completing])
        completing.result()

    @property
    def _defines_later(self) -> bool:
        """Nothing that was left is shipped before Redis is known, and a definition's base is made of the ledger."""
        return self._shared is not None and not self.is_spool_empty

    def _complete(self, budgets: Sequence[Budget]) -> None:
        """What an earlier life left, the definitions of budgets since, and a first key."""
        outage = self._recorder.outage
        outage.is_stopping = self._stop.is_set
        self._recorder.catch_up()
        if not self._defines_later:
            outage.insist(self._say_if_another)
            outage.insist(lambda: take_definitions(self._engine, budgets, now_s()))
        self._first_key = outage.insist(self._make_first_key)

    def _say_if_another(self) -> None:
        """Once, and not before it has all that was left: an empty one may lack just that."""
        if self.has_served and is_empty(self._engine):
            say_that_it_is_another(self.config.ledger, self._data_dir)
        self.has_served = False

    def _start_recorder(self, ending: contextlib.AsyncExitStack) -> None:
        """The alerts' thread, and the recorder's, which end once everything in the spool is shipped; the services,
        which begin later, end after it."""
        ending.push_async_callback(self._end_services)
        self._alerts.start()
        ending.push_async_callback(asyncio.to_thread, self._alerts.stop)
        recording = Recording(self._recorder)
        recording.start()
        ending.push_async_callback(asyncio.to_thread, recording.end)

    async def _begin_services(self, loop: asyncio.AbstractEventLoop) -> Services:
        # Data planes ask meanwhile what only the ledger knows, and do not wait for long.
        await asyncio.to_thread(importlib.import_module, "proxy.control.services")
        from proxy.control.services import Services  # noqa: PLC0415 - no call waits for what only this needs

        resources = Resources(
            self._engine, self._instance, self._data_dir, self._link, self._metrics, self._recorder, self._alerts, self._shared
        )  # fmt: skip
        made = self._made
        in_force = InForce(lambda: self.config, lambda: self.in_file, lambda: made.settings, self.budgets, made.refresh)
        self._services = Services(resources, in_force, workers=self._workers, loop=loop)
        return self._services

    async def _end_services(self) -> None:
        if self._services is not None:
            await asyncio.to_thread(self._services.stop)

    async def _end_serving(self, server: Server, serving: asyncio.Task[None]) -> None:
        if self._services is not None:
            self._services.front.close()
        server.stop()
        await asyncio.wait([serving])

    def _make_recorder(self, engine: Engine) -> Recorder:
        log_calls, loop = call_logger(self.config.log.sample), asyncio.get_running_loop()

        def on_shipping(shipped: Shipped) -> None:
            if self._shared is None and (charges := unknown_charges(engine, shipped)):  # else the gate tells the store
                loop.call_soon_threadsafe(self._charge, charges)

        def on_shipped(shipped: Shipped, refused: Sequence[RefusedCall]) -> None:
            log_calls(shipped.named)
            self._alerts.shipped(shipped, refused)
            if self._services is not None:
                self._services.front.shipped()

        spool, bounds = self._data_dir / "spool", self.config.spool
        keep_s = bounds.keep_shipped_s if engine.dialect.name == "postgresql" else 0  # a file does not fail over
        return Recorder(
            engine, spool, instance=self._instance, metrics=self._metrics, on_shipping=on_shipping, on_shipped=on_shipped,
            gate=self._shared,
            kept=Kept(spool, keep_s, bounds.max_mb * 1024 * 1024),
            capacity_of=lambda: self.config.capacity_of(),  # noqa: PLW0108 - a reload brings another
        )  # fmt: skip

    def _charge(self, charges: Sequence[Any]) -> None:
        self._charges.note(charges, now_s())
        self._tell({"charges": charges})

    def _tell(self, message: Mapping[str, Any]) -> None:
        """All data planes."""
        self._link.push(message)

    def _share(self, engine: Engine) -> SharedBudgets:
        from proxy.control.rebuilding import SharedBudgets  # noqa: PLC0415 - most have their budgets in memory

        return SharedBudgets(lambda: self.config, self.budgets, engine, self._instance)

    async def _look_after(self, server: Server) -> None:
        """The server's connections, once a second, and the memory that a burst leaves."""
        rest = Rest(give=lambda: asyncio.get_running_loop().run_in_executor(None, self._give_back))
        while True:
            await asyncio.sleep(_TICK_S)
            rest.look()
            check_times(server.state.connections, asyncio.get_running_loop().time())

    def _give_back(self) -> None:
        """In a thread."""
        with contextlib.suppress(SQLAlchemyError, sqlite3.Error):  # it keeps what it remembers
            let_go(self._engine)
        give_back()

    # Snapshots for the data planes

    async def _first_snapshot(self, worker: str) -> dict[str, Any]:
        """For a data plane that starts (or comes back): what is spent, once its earlier life is in the ledger."""
        if self._shared is not None:
            go_on_at = asyncio.get_running_loop().time() + _STORE_WAIT_S
            await earlier_are_told(worker, self._data_dir / "spool", lambda: self._serves_without_store(go_on_at))
            return self._made.snapshot()
        asked_at = self._recorder.check_soon()
        while self._recorder.runs_of(worker) > 1 or self._recorder.checked_at < asked_at:  # noqa: ASYNC110 - the recorder is a thread, what it deletes are files
            await asyncio.sleep(_POLL_RUNS_S)
        while True:
            # Who is not there yet hears of no charge; what is on its way to the ledger may be in these sums or not.
            batch, charged = self._recorder.batch, self._charges.count
            state = await asyncio.to_thread(self._initial_state)
            if (state.batch, self._charges.count) == (batch, charged):
                break
            await asyncio.sleep(_POLL_RUNS_S)
        seeds = self._by_now(self._snapshot_of(state))
        return seeds | {"jobs": state.jobs, "charged": self._charges.lately(now_s())}

    def _serves_without_store(self, go_on_at: float) -> bool:
        """Whether calls need not wait for a store that is away: every budget lets them go on. go_on_at: the loop's time."""
        if self._shared is None or self._shared.store.up or asyncio.get_running_loop().time() < go_on_at:
            return False
        return not any(one.hard and one.on_store_down == "deny" for one in self.budgets())

    def _by_now(self, seeds: dict[str, Any]) -> dict[str, Any]:
        """With the keys of this moment: what was pushed while the ledger was asked must not be taken back, and who connects has
        not heard it."""
        return seeds | self._made.snapshot(seeds["seeds"])

    def _initial_state(self) -> InitialState:
        return initial_state(self._engine, self._instance, self.budgets(), now_s())

    def _snapshot_of(self, said: InitialState) -> dict[str, Any]:
        """With what is spent, and by which definitions of the budgets in force."""
        return self._made.snapshot(said.seeds) | {"defined": said.defined}

    def budgets(self) -> tuple[Budget, ...]:
        """The budgets in force, with what they are raised by."""
        return self._made.budgets(self.config)

    def _take(self, order: Config | InFile) -> None:
        """What the supervisor says."""
        if isinstance(order, InFile):
            self.in_file = order
        else:
            self.config = order
            self._reloaded.set()

    async def _seed_when_reloaded(self) -> None:
        while True:
            await self._reloaded.wait()
            self._reloaded.clear()
            await self._seed_defined(now_s())

    async def _seed_defined(self, since_s: float) -> None:
        """Budgets that a new configuration defines (anew) begin with what the ledger says, once it has everything."""
        while self._recorder.caught_up_at < since_s:  # noqa: ASYNC110 - the recorder is a thread
            await asyncio.sleep(_POLL_RUNS_S)
        await self._answer_of(self._say_if_another)
        await self._answer_of(lambda: take_definitions(self._engine, self.budgets(), now_s()))
        if self._shared is not None:
            await self._shared.seed()
        else:
            await self._push_seeds()

    async def _push_seeds(self) -> None:
        """What the ledger says is spent, to the data planes that count it; with what else they have of it."""
        if self._shared is not None:
            self._link.push(self._made.snapshot())
        else:
            self._link.push(self._by_now(self._snapshot_of(await self._answer_of(self._initial_state))))

    async def _answer_of(self, question: Callable[[], T]) -> T:
        """What the ledger says; it is asked until it answers."""
        last = ""
        while True:
            try:
                return await asyncio.to_thread(question)
            except SQLAlchemyError as error:
                reason = why_not_written(error, self._engine.url)
                if reason != last:
                    log.error("the ledger does not say yet what is spent in new budgets: %s; it is asked again", reason)
                last = reason
                await asyncio.sleep(_TICK_S)

    # The first start

    def _make_first_key(self) -> str | None:
        if not self._announce or self.config.keys or keys.list_keys(self._engine):
            return None
        return keys.create_key(self._engine, _FIRST_KEY)[1]

    def _say_where(self) -> None:
        where = Where(self.config, self._data_port, self._listener.getsockname()[1])
        if self._announce:
            print(where.text(self._first_key), flush=True)  # noqa: T201 - for the person who started it
        else:
            log.info("%s", where.line(len(self._made.settings.keys)))
