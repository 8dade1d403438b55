"""One data-plane process: its plane, its server, its link to the control process, its clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import uvloop

from pricing.book import Book
from pricing.load import packaged_book
from proxy.access.keys import KeyRing, identity_of
from proxy.budgets.guards import Guards
from proxy.budgets.memory import MemoryStore
from proxy.budgets.store import Expired, Store, StoreUnavailable
from proxy.ceilings import rendered
from proxy.ceilings.learned import Learned
from proxy.ceilings.prefixes import CountedPrefixes
from proxy.config.model import Config
from proxy.config.problems import ConfigError, Problem
from proxy.dataplane.application import Application
from proxy.dataplane.jobs import Poller, restore_reservations
from proxy.dataplane.kept_sessions import KeptSessions
from proxy.dataplane.made import Made
from proxy.dataplane.redefined import definitions_of, redefine, seed_all, take_seeds
from proxy.dataplane.repricings import charge_repricings, know_repricings
from proxy.dialects.plain_messages import PlainMessages
from proxy.downstream.connection import check_times, connecting
from proxy.downstream.load import MAX_DRAINS, Load
from proxy.downstream.timeouts import Limits
from proxy.exchange.configured import configure
from proxy.exchange.plane import Plane
from proxy.processes.descriptors import A_CALL, connections_at_most
from proxy.processes.heaps import Rest
from proxy.processes.http_server import Server
from proxy.processes.link import DataPlaneLink
from proxy.processes.log import log_refused
from proxy.processes.not_installed import require
from proxy.processes.orders import Orders
from proxy.processes.standstill import Standstill
from proxy.sessions.chains import Chains
from proxy.sessions.keyed_hash import KeyedHash
from proxy.shares import Shares
from proxy.spool import records
from proxy.spool.room import Room
from proxy.spool.writer import SpoolUnavailable, SpoolWriter
from proxy.times import now_s, now_us

log = logging.getLogger("taximeter.data")

_TICK_S = 1.0
_SOON_S = 0.05  # in which lines about conversations are collected
_KEEP_ALIVE_S = 75
_RECALL_S = 0.25  # how long a session's first call waits for what the ledger knows of it
_EARLY_RECALL_S = 5.0  # while the control process has not opened it: else the call would have to wait itself
_STORE_WAIT_S = 10.0
_JOBS_S = 5.0


def run(config: Config, worker: str, listener: socket.socket, orders: Orders, workers: int = 1) -> None:
    """Serve until told to stop. Never returns before everything that was begun is settled and in the spool. worker: this
    one's name; workers: how many there are."""
    require("websockets")  # imported with the first spoken session
    uvloop.run(_DataPlane(config, worker, listener, orders, workers).serve())


class _DataPlane:
    def __init__(self, config: Config, worker: str, listener: socket.socket, orders: Orders, workers: int = 1) -> None:
        self._config = config
        self._worker = worker
        self._workers = workers
        self._listener = listener
        self._orders = orders
        self._stopping = asyncio.Event()
        self._book = packaged_book()
        self._made = Made()
        self._readying: asyncio.Task[None] | None = None
        self._recall_s = _RECALL_S
        self._charging: set[asyncio.Task[None]] = set()
        self._room = Room(Path(config.data_dir) / "spool")

    async def serve(self) -> None:
        config = self._config
        try:
            plane = self._plane = build_plane(config, self._worker, os.environ, self._book, self._workers)
        except (OSError, SpoolUnavailable) as error:
            why = f"{config.data_dir} cannot be written: {error}; data planes begin once its disk takes files"
            raise ConfigError([Problem("data_dir", why)]) from None
        server = self._server = self._make_server(config, Application(plane))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches the supervisor too, which sends SIGTERM
        self._orders.watch(on_config=self._reload, on_parent_gone=self._stop)
        link = DataPlaneLink(
            Path(config.data_dir) / "control.sock",
            worker=self._worker,
            on_snapshot=self._take_snapshot,
            handlers={
                "standing": self._standing,
                "fullest": self._fullest,
                "totals": self._totals,
                "gauges": self._gauges,
                "stopping": lambda _: self._server.stopping,
            },
        )
        plane.jobs.recall = lambda digests: link.ask("jobs", {"digests": list(digests)}, self._recall_s)
        poller = Poller(plane, lambda question: link.ask("jobs_due", question, _JOBS_S))
        plane.recall_stored = lambda digests: link.ask("stored", {"digests": list(digests)}, self._recall_s)
        if config.store != "memory":
            from proxy.dataplane.shared_store import ask_ledger  # noqa: PLC0415 - most have their budgets in memory

            ask_ledger(plane.store, link, _RECALL_S)
        plane.recall = lambda names: link.ask("sessions", {"names": list(names)}, self._recall_s)
        linked = asyncio.create_task(link.run())
        chores = [asyncio.create_task(work) for work in (self._tick(), _get_ready(), plane.store.run(), poller.run())]
        await server.serve([self._listener])
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        self._write_tally()
        if plane.tally:
            log.warning("the spool cannot be written: counts of refusals are lost")
        plane.chains.flush()
        await plane.store.close()
        plane.configured.upstreams.close()
        if left := plane.spool.close():
            log.error("the spool cannot be written: %d calls without their end are charged at their ceilings", left)
        # Last: while it is there, a control process that is told to stop waits for what is still recorded.
        linked.cancel()
        await asyncio.gather(linked, return_exceptions=True)

    def _make_server(self, config: Config, app: Application) -> Server:
        server = config.server
        limits = Limits(
            max_connections=_most_connections(config),
            max_head_bytes=server.max_head_kb * 1024,
            header_timeout_s=server.header_timeout_s,
            body_timeout_s=server.body_timeout_s,
            min_body_rate=math.ceil(server.min_body_kb_per_s * 1024),
            write_timeout_s=server.write_timeout_s,
            keep_alive_s=_KEEP_ALIVE_S,
        )
        protocol = connecting(limits, lambda code: self._plane.tally.refuse(code, None), app.serve)
        return Server(protocol, drain_s=server.drain_timeout_s)

    def _stop(self) -> None:
        self._plane.ready = False
        self._server.stop()

    # What the control process tells and asks.

    def _take_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Run-time keys, at the first time with what the ledger says was spent: then the plane is ready. Later also what has
        changed of them, or charges, alone."""
        if "changes" in snapshot:
            self._made.take_changes(self._plane, snapshot["changes"])
        if "keys" in snapshot:
            self._recall_s = _EARLY_RECALL_S if "early" in snapshot else _RECALL_S
            self._made.take_all(self._plane, snapshot)
        charges, charged = snapshot.get("charges", ()), snapshot.get("charged", ())
        take = know_repricings if self._readying is None else charge_repricings
        for taking in (charge_repricings(self._plane, charges), take(self._plane, charged)):
            task = asyncio.create_task(taking)
            self._charging.add(task)
            task.add_done_callback(self._charging.discard)
        if "defined" in snapshot:
            take_seeds(self._plane, snapshot["seeds"], snapshot["defined"])
        if "keys" not in snapshot or self._plane.ready or self._server.stopping or self._readying is not None:
            return
        seed_all(self._plane.store, snapshot["seeds"])
        self._readying = asyncio.create_task(self._be_ready(snapshot.get("jobs", ())))

    async def _be_ready(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        """Serve once calls can be counted; after a while all the same: some budgets let calls go on without. jobs: that
        run, and whose reservations this process has to hold."""
        await restore_reservations(self._plane, jobs)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STORE_WAIT_S):  # not wait_for, which in Python 3.11 may swallow a cancellation
                await self._plane.store.wait_until_up()
        self._plane.ready = not self._server.stopping

    def _standing(self, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        standings = self._plane.store.standings(payload.get("budget"), payload.get("group"))
        return [standing._asdict() for standing in standings]

    def _fullest(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        standings, counts = self._plane.store.fullest(payload["most"], now_s())
        return {"rows": [standing._asdict() for standing in standings], "counts": counts}

    def _totals(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        budgets = self._plane.configured.budgets.budgets
        return [totals.as_message() for totals in self._plane.store.totals(budgets, now_s())]

    def _gauges(self, _: Mapping[str, Any]) -> dict[str, Any]:
        plane = self._plane
        return {
            "ready": plane.ready,
            "inflight_requests": plane.calls_in_flight,
            "realtime_sessions": len(plane.sessions),
            "bytes_in_flight": plane.load.bytes.total,
            "store_up": plane.store.up,
            "unrecorded_because": plane.unrecorded_because,
            "store_calls": plane.store.answered,
            "raised": plane.learned.most_raised(now_s()),
        }

    def _reload(self, config: Config) -> None:
        """Take a new configuration whole; calls in flight finish with the one that they began with."""
        plane = self._plane
        definitions_before = definitions_of(plane)
        retired, plane.configured = (
            plane.configured,
            configure(config, os.environ, self._book, self._made.raises, self._made.limits, alone=plane.keys.is_single),
        )
        plane.keys.replace_configured_keys(identity_of(key) for key in config.keys)
        plane.guards.follow(config.guards)
        bounds = _load(config, plane.keys)
        plane.load.max_body_bytes = bounds.max_body_bytes
        plane.load.bytes.capacity = bounds.bytes.capacity
        plane.load.calls.most_each = bounds.calls.most_each
        redefine(plane, definitions_before)
        retired.upstreams.close()

    # The clock.

    async def _tick(self) -> None:
        loop, rest, standstill = asyncio.get_running_loop(), Rest(), Standstill()
        while True:
            await asyncio.sleep(_TICK_S)
            rest.look()
            standstill.look()
            check_times(self._server.state.connections, loop.time())
            for session in [*self._plane.sessions]:
                session.tick()
            with contextlib.suppress(StoreUnavailable):
                await self._charge_expired()
                await self._plane.store.forget_ended_windows(now_s())
            self._keep_spool()
            self._plane.spool.write_owed()
            self._write_tally()
            self._room.look(self._plane.spool.take_refusal())
            self._plane.unrecorded_because = self._room.why

    def _keep_spool(self) -> None:
        size = self._plane.spool.keep_named()
        if size is not None:
            log.error(
                "somebody deleted what this process writes in the spool (a person? a program that cleans up?); it is there "
                "again with all its %d bytes. Calls that the ledger lacked in other files deleted beside it are lost",
                size,
            )

    async def _charge_expired(self) -> None:
        """Reservations that outlived their deadline are charged whole; the spool says so, for the ledger."""
        plane = self._plane
        await plane.store.sweep(now_s())
        gone = await plane.store.expired()
        if not gone:
            return
        try:
            for reservation in gone:
                plane.spool.append(orjson.dumps(_expired(reservation, now_us(), plane.store.epoch)))
        except SpoolUnavailable:
            return  # they are told again
        await plane.store.written([one.reservation_id for one in gone])

    def _write_tally(self) -> None:
        """Where the spool took nothing, also to see whether it does again."""
        tally = self._plane.tally
        log_refused(tally.take_refused())
        if tally or self._room.why:
            with contextlib.suppress(SpoolUnavailable):
                self._plane.spool.append(orjson.dumps(tally.record(now_us())))
                tally.clear()


async def _get_ready() -> None:
    """Make what some call will need, not before the first one, and beside others."""
    await asyncio.sleep(_TICK_S)
    for _ in rendered.getting_ready():
        await asyncio.sleep(0)


def _has_secret_hash(environ: Mapping[str, str]) -> bool:
    """Whether Python's hash of a text is one that nobody outside of this process can work out."""
    is_drawn = bool(sys.flags.hash_randomization) and environ.get("PYTHONHASHSEED", "random") in ("", "random")
    return is_drawn and sys.hash_info.algorithm.startswith("siphash")


def build_plane(config: Config, worker: str, environ: Mapping[str, str], book: Book, workers: int = 1) -> Plane:
    """A data plane that serves by `config` as soon as it is `ready`. book: without anything of the operator's. workers: how
    many data planes its folder has."""
    data_dir = Path(config.data_dir)
    PlainMessages.hash_is_secret = _has_secret_hash(environ)
    keys = KeyRing(identity_of(key) for key in config.keys)
    keyed = KeyedHash(_secret(data_dir / "conversations.key"))
    spool = SpoolWriter(data_dir / "spool", worker, mode=config.spool.mode, max_mb=config.spool.max_mb)
    return Plane(
        configured=configure(config, environ, book, alone=keys.is_single),
        keys=keys,
        store=_store(config, spool),
        spool=spool,
        load=_load(config, keys),
        guards=Guards(config.guards),
        chains=Chains(keyed, kept=KeptSessions(data_dir / f"conversations-{worker}.txt", _soon)),
        prefixes=CountedPrefixes(keyed),
        learned=Learned(data_dir / f"learned-{worker}.json"),
        shares_conversations=workers > 1,
    )


def _store(config: Config, spool: SpoolWriter) -> Store:
    if config.store == "memory":
        return MemoryStore()
    from proxy.dataplane.shared_store import shared_store  # noqa: PLC0415 - as above

    return shared_store(config, spool)


def _soon(write: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(_SOON_S, write)


def _expired(reservation: Expired, at_us: int, epoch: str) -> records.Expired:
    """The end of an attempt whose reservation expired, whoever began it: with its INTENT, as far as it was reserved."""
    intent: records.Intent = orjson.loads(reservation.record)
    intent["budgets"] = reservation.charged
    if reservation.nanousd is not None:
        intent["reserved_nanousd"] = reservation.nanousd
    return {"t": "expired", "id": reservation.reservation_id, "at": at_us, "epoch": epoch, "intent": intent}


def _load(config: Config, keys: KeyRing) -> Load:
    server = config.server
    return Load(
        max_body_bytes=int(server.max_body_mb * 1_000_000),
        bytes=Shares(int(server.max_inflight_mb * 1_000_000), keys.is_single),
        calls=Shares(_most_connections(config), keys.is_single, server.max_calls_per_key),
        drains=Shares(MAX_DRAINS, keys.is_single),
    )


def _most_connections(config: Config) -> int:
    return connections_at_most(config.server.max_connections, descriptors_each=A_CALL)


def _secret(path: Path) -> bytes:
    """The secret in the file, whole or not at all, made by whoever comes first; only the owner can read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent) as made:
        made.write(secrets.token_bytes(32))
        made.flush()
        with contextlib.suppress(FileExistsError):
            os.link(made.name, path)
    return path.read_bytes()
