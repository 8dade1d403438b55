"""The store on Redis as people run it: TLS, users with few rights, Sentinel, Cluster, Valkey. Real servers each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from proxy.budgets.redis.store import RedisStore
from proxy.budgets.store import Granted, StoreUnavailable
from proxy.types import Claim
from tests.support.redis import RedisServer
from tests.support.redis_run import Certificates, PortServer, Sentinel, ValkeyServer

pytestmark = pytest.mark.needs("redis-server")

LIMIT = 1000
LATER = time.time() + 3600
ACL = "~tm1* &tm1:* -@all +@read +@write +@scripting +@pubsub +@connection +info +time -@dangerous +info"
"""As docs/operating.md has it, and no more."""


def claim(amount: int) -> Claim:
    return Claim("b", "", 0, None, LIMIT, amount, "usd", True)


class Plane:
    """A process at the store. spent: what it settled; marked: how much of it stood before the marker of its epoch."""

    def __init__(self, url: str) -> None:
        self.spent = self.marked = 0
        self.epochs: list[str] = []
        self.store = RedisStore(url, on_epoch=self._mark, deadline_s=2)
        self.running = asyncio.create_task(self.store.run())

    def _mark(self, epoch: str) -> None:
        self.epochs.append(epoch)
        self.marked = self.spent

    async def joins(self, count: int) -> None:
        while len(self.epochs) < count or not self.store.member.joined.is_set():
            await asyncio.sleep(0.01)

    async def call(self, name: str, amount: int) -> bool:
        """A call that costs what it reserved: whether it was granted."""
        verdict = await self.store.reserve(name, [claim(amount)], time.time(), LATER, b"{}")
        if not isinstance(verdict, Granted):
            return False
        self.spent += amount  # its end is in the spool from here on
        await self.store.settle(name, [amount])
        return True

    async def end(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running
        await self.store.close()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Plane]:
    plane = Plane(url)
    try:
        async with asyncio.timeout(10):
            await plane.joins(1)
        await plane.store.member.open(plane.store.epoch)
        yield plane
    finally:
        await plane.end()


async def every_verb(plane: Plane) -> None:
    """Whatever a data plane and a control process ever ask of it."""
    store, member = plane.store, plane.store.member
    assert await plane.call("a", 300)
    await store.reserve("b", [claim(200)], time.time(), LATER, b"{}")
    await store.release("b")
    await store.charge("c", [claim(100)], [100])
    await store.reserve("late", [claim(50)], time.time(), time.time() - 10, b"{}")
    assert await store.sweep(time.time()) in (0, 1)
    late = await store.expired()
    await store.written([one.reservation_id for one in late])
    await member.seed(store.epoch, "open", "part", "usd:0:b", None, [("", 5, 0)])
    await store.forget()
    assert await store.session_cost("team", "s", 7) == 7
    store.note_session(["n"], "s")
    assert await store.noted_sessions(["n", "m"]) == ["s", None]
    assert (await store.counters("usd:0:b"))[0] == {"": 300 + 100 + 50 + 5}
    words = (1, repr(60.0), repr(0.5), "usd:0:b", "", 0, "", LIMIT, 0, 0, 0, 100)
    assert (await member.call("lease", store.epoch, "run", *words))[0] == "leased"
    await store.end_lease("run", [], counted=True)
    await store.reserve("e", [claim(500)], time.time(), LATER, b"{}")
    assert not await plane.call("d", 100)  # only "e" is in its way
    waiting = asyncio.create_task(store.wait_for_room("d", [claim(100)], 10))
    await store.release("e")
    assert await waiting
    await member.renew(store.epoch)
    await plane.joins(2)


@pytest.mark.needs("openssl")
async def test_over_tls_with_certificates_and_a_user_of_few_rights(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    with PortServer(tmp_path / "redis", *certificates.options(), tls=True) as server:
        assert server.say("ACL", "SETUSER", "taximeter", "on", ">p@ss", *ACL.split()).startswith("+OK")
        server.say("ACL", "SETUSER", "default", "off")
        place = f"127.0.0.1:{server.port}?{certificates.query()}"
        async with opened(f"rediss://taximeter:p%40ss@{place}") as plane:
            await every_verb(plane)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("wrong", ["nobody it trusts", "no certificate", "password", "host"])
async def test_what_is_wrong_is_said(tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    certificates = Certificates(tmp_path)
    query = certificates.query()
    host, password = "127.0.0.1", "hush-hush"
    if wrong == "nobody it trusts":
        query = query.partition("&")[2]
    elif wrong == "no certificate":
        query = query.partition("&")[0]
    elif wrong == "password":
        password = "another-one"
    else:
        host = "localhost"
    with PortServer(tmp_path / "redis", *certificates.options(), "--requirepass", "hush-hush", tls=True) as server:
        store = RedisStore(f"rediss://:{password}@{host}:{server.port}?{query}", deadline_s=2)
        with caplog.at_level(logging.ERROR):
            running = asyncio.create_task(store.run())
            while not caplog.records:
                await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable):
            await store.reserve("a", [claim(1)], time.time(), LATER)
        running.cancel()
        await store.close()
    assert "the budget store cannot be used: " in caplog.text
    assert password not in caplog.text


async def test_a_server_that_repeats_what_it_does_not_know_tells_nobody_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is older than `HELLO` does, or had it renamed."""
    with PortServer(tmp_path / "redis", "--requirepass", "hush-hush", "--rename-command", "HELLO", "") as server:
        store = RedisStore(f"redis://:hush-hush@127.0.0.1:{server.port}", deadline_s=2)
        with caplog.at_level(logging.ERROR):
            running = asyncio.create_task(store.run())
            while not caplog.records:
                await asyncio.sleep(0.01)
        running.cancel()
        await store.close()
    assert "the budget store cannot be used: ERR unknown command" in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    ("rights", "lacks"),
    [(ACL.replace("&tm1:*", "resetchannels"), "channel"), (ACL.replace("+@scripting", ""), "script")],
    ids=["no channel", "no scripts"],
)
async def test_a_user_of_too_few_rights_is_told_and_leaves_no_connections_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rights: str, lacks: str
) -> None:
    """Each try left one open, ten a second, until the server took none any more."""
    with PortServer(tmp_path / "redis") as server:
        assert server.say("ACL", "SETUSER", "taximeter", "on", ">pw", *rights.split()).startswith("+OK")
        store = RedisStore(f"redis://taximeter:pw@127.0.0.1:{server.port}", deadline_s=2)
        with caplog.at_level(logging.ERROR):
            running = asyncio.create_task(store.run())
            while server.say("INFO", "commandstats").count("cmdstat_hello:calls=5,") == 0:
                await asyncio.sleep(0.01)
        assert server.say("CLIENT", "LIST").count("name=taximeter") <= 1
        with pytest.raises(StoreUnavailable):
            await store.reserve("a", [claim(1)], time.time(), LATER)
        running.cancel()
        await store.close()
    assert "the budget store cannot be used: NOPERM" in caplog.text
    assert lacks in caplog.text


@pytest.mark.needs("valkey-server")
async def test_on_valkey(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path) as server:
        assert "server_name:valkey" in server.say("INFO", "server")
        async with opened(server.url) as plane:
            await every_verb(plane)


async def test_a_cluster_is_refused_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(tmp_path, "--cluster-enabled", "yes", "--port", "0", "--save", "") as server:
        store = RedisStore(server.url, deadline_s=2)
        with caplog.at_level(logging.ERROR):
            running = asyncio.create_task(store.run())
            while not caplog.records:
                await asyncio.sleep(0.01)
        running.cancel()
        await store.close()
    assert "this Redis is a Cluster" in caplog.text


async def rebuilt(planes: list[Plane]) -> None:
    """What the recorder and the control process do: open the epoch that all have joined, with what the ledger says."""
    member = planes[0].store.member
    await member.seed(member.epoch, "recovering", "ledger", "usd:0:b", None, [("", sum(p.marked for p in planes), 0)])
    await member.open(member.epoch)


@pytest.mark.parametrize("stale", [False, True], ids=["under load", "a replica that lagged"])
async def test_a_promoted_replica_overspends_nothing(tmp_path: Path, stale: bool) -> None:
    """Two instances spend as fast as they can; the server is killed, and its replica takes its place: what that lacks is in the
    ledger, and nothing is granted before it is there."""
    auth = ("--requirepass", "pw", "--masterauth", "pw")
    with (
        PortServer(tmp_path / "first", *auth) as first,
        PortServer(tmp_path / "second", *auth, "--replicaof", f"127.0.0.1 {first.port}") as second,
        Sentinel(
            tmp_path / "sentinel",
            "m",
            first,
            "sentinel auth-pass m pw",
            "requirepass of-sentinels",
            dead_after_ms=1000 if stale else 200,
        ) as sentinel,
    ):
        url = f"redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:{sentinel.port}/m?sentinel_password=of-sentinels"
        async with opened(url) as one:
            other = Plane(url)
            await other.joins(1)
            await replicated(second)
            stopping = asyncio.Event()
            load = [asyncio.create_task(spend(plane, str(n), stopping)) for n, plane in enumerate((one, other))]
            while one.spent < 50 or other.spent < 50:
                await asyncio.sleep(0.005)
            if stale:
                # One that is stopped would read what lies in its socket when it goes on, and lack nothing.
                second.say("REPLICAOF", "127.0.0.1", "1", password="pw")
                before = one.spent
                while one.spent < before + 100:
                    await asyncio.sleep(0.005)
            if stale:
                assert counted(second, one.epochs[0]) < one.spent + other.spent - 50
            first.down()
            async with asyncio.timeout(30):
                await one.joins(2)
                await other.joins(2)
            assert not one.store.up
            await rebuilt([one, other])
            async with asyncio.timeout(30):
                await asyncio.gather(*load)
            await one.store.member.deliver()
            await other.store.member.deliver()
            assert one.spent + other.spent == LIMIT
            assert (await one.store.standings_of([claim(0)]))[0].spent == LIMIT
            await other.end()


def counted(server: PortServer, epoch: str) -> int:
    """What it knows to be spent in an epoch; nothing where it has not heard of any."""
    _, said, *_ = server.say("HGET", f"tm1:{epoch}:s:usd:0:b", "", password="pw").split("\r\n")
    return int(said or 0)


async def replicated(replica: PortServer) -> None:
    while "master_link_status:up" not in replica.say("INFO", "replication", password="pw"):
        await asyncio.sleep(0.02)


async def spend(plane: Plane, name: str, stopping: asyncio.Event) -> None:
    """One nano-dollar a call, until the budget is spent."""
    number = 0
    while not stopping.is_set():
        number += 1
        try:
            if not await plane.call(f"{name}-{number}", 1):
                return
        except StoreUnavailable:
            await asyncio.sleep(0.01)
