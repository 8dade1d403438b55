"""What is made at run time is looked for as often as it may have changed, and told at once, whoever changed it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.budgets.budget import compile_budgets
from proxy.config.model import Budget
from proxy.control import made
from proxy.control.made import Made
from proxy.control.runtime_settings import RuntimeSettings, SettingsReader
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import keys, raises
from proxy.ledger.schema import metric_state
from proxy.times import now_s

BUDGETS = compile_budgets([Budget(name="b", limit_usd=Decimal(1), window="total")])


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    opened = open_ledger(database)
    yield opened
    opened.dispose()


@asynccontextmanager
async def watching(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Queue[Any]]:
    """What data planes are told."""
    monkeypatch.setattr(made, "_POLL_S", 0.001)
    told: asyncio.Queue[Any] = asyncio.Queue()

    def push(message: Mapping[str, Any]) -> None:
        told.put_nowait(message["changes"])

    watched = Made(lambda: engine, push)
    watched.begin()
    watch = asyncio.create_task(watched.watch())
    yield told
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_what_another_process_changes_is_told(
    engine: Engine, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_ledger(database)
    async with watching(engine, monkeypatch) as told, asyncio.timeout(60):
        for name in ("one", "two"):
            keys.create_key(other, name)
            said = await told.get()
            assert [key["key"] for key in said["keys"]] == [name]
        keys.rotate_key(other, "one", grace_s=60)
        assert [key["expires_at"] is None for key in (await told.get())["keys"]] == [False, True]
        keys.revoke_key(other, "two")
        assert len((await told.get())["keys_gone"]) == 1
        row = raises.make_raise(other, BUDGETS, raises.RaiseRequest("b", Decimal(1)), now_s=now_s())
        assert len((await told.get())["raises"]) == 1
        raises.end_raise(other, row["id"], now_s())
        assert (await told.get())["raises"] == []
    other.dispose()


async def test_keys_are_not_read_again_for_what_calls_add_to_the_ledger(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thousands of keys each reading took a tenth of a second, twice a second under load."""
    reads = 0
    read = SettingsReader.read

    def counted(self: SettingsReader, of: Engine) -> RuntimeSettings:
        nonlocal reads
        reads += 1
        return read(self, of)

    monkeypatch.setattr(SettingsReader, "read", counted)
    looks: asyncio.Queue[None] = asyncio.Queue()
    loop, mark = asyncio.get_running_loop(), made.Changes.mark

    def marked(self: made.Changes) -> Any:
        said = mark(self)
        loop.call_soon_threadsafe(looks.put_nowait, None)
        return said

    monkeypatch.setattr(made.Changes, "mark", marked)
    async with watching(engine, monkeypatch) as told, asyncio.timeout(60):
        keys.create_key(engine, "one")
        await told.get()
        before = reads
        for number in range(5):
            while not looks.empty():
                looks.get_nowait()
            with writing(engine).begin() as connection:
                row = {"instance": "i", "name": f"m{number}", "labels": "", "value": ""}
                connection.execute(sa.insert(metric_state).values(row))
            await looks.get()
    assert reads <= before + 1  # the first look may have begun before the key was there


async def test_what_somebody_writes_by_hand_is_told_with_the_next_look(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create_key(engine, "one", team="before")
    monkeypatch.setattr(made, "_LOOK_S", 0)
    async with watching(engine, monkeypatch) as told, asyncio.timeout(60):
        with writing(engine).begin() as connection:
            connection.exec_driver_sql("UPDATE keys SET team = 'behind'")
        assert [key["team"] for key in (await told.get())["keys"]] == ["behind"]


async def test_what_no_mark_shows_is_told_though_nothing_is_committed_behind_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance at rest commits nothing for hours."""
    keys.create_key(engine, "one", team="before")
    now, looked, version = 0.0, 0, made.Changes.version

    def looking(self: made.Changes) -> Any:
        nonlocal looked
        looked += 1
        return version(self)

    async def looks(count: int) -> None:
        until = looked + count
        while looked < until:
            await asyncio.sleep(0)

    monkeypatch.setattr(made, "monotonic", lambda: now)
    async with watching(engine, monkeypatch) as told, asyncio.timeout(60):
        monkeypatch.setattr(made.Changes, "version", looking)
        await looks(2)  # the first reading is over
        with writing(engine).begin() as connection:
            connection.exec_driver_sql("UPDATE keys SET team = 'behind'")
        await looks(3)
        now = made._LOOK_S
        assert [key["team"] for key in (await told.get())["keys"]] == ["behind"]


async def test_after_a_database_was_away_keys_are_read_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may have taken its place, without the latest transactions, and with their numbers for others."""
    monkeypatch.setattr(made, "_POLL_S", 0)
    monkeypatch.setattr(made, "monotonic", lambda: 0.0)
    answers: list[RuntimeSettings | None] = [
        RuntimeSettings([{"key_id": "a"}], [], []),
        None,
        RuntimeSettings([{"key_id": "b"}], [], []),
    ]
    marks = iter([("same",), None])

    class NoFile:
        def __init__(self, _: object) -> None: ...
        def version(self) -> None: ...
        def close(self) -> None: ...
        def mark(self) -> Any:
            return next(marks, ("same",))

    class Reader:
        def read(self, _: object) -> RuntimeSettings:
            if (answer := answers.pop(0)) is None:
                raise sa.exc.OperationalError("", {}, Exception())
            return answer

    told: asyncio.Queue[Any] = asyncio.Queue()
    monkeypatch.setattr(made, "Changes", NoFile)
    watched = Made(lambda: cast("Any", None), lambda message: told.put_nowait(message["changes"]))
    watched._reader = cast("Any", Reader())
    watch = asyncio.create_task(watched.watch())
    async with asyncio.timeout(30):
        assert [key["key_id"] for key in (await told.get())["keys"]] == ["a"]
        assert (await told.get())["keys_gone"] == ["a"]
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_a_key_that_is_revoked_does_not_come_back_with_an_answer_that_is_late() -> None:
    """Whoever changes a key has the ledger asked at once, beside what looks every now and then; and no row differs any more."""
    is_asked, may_answer = threading.Event(), threading.Event()
    there, revoked = RuntimeSettings([{"key_id": "a"}], [], []), RuntimeSettings([], [], [])
    rows = iter([there, revoked])

    class Reader:
        def read(self, _: Any) -> RuntimeSettings:
            settings = next(rows)
            if settings is there:
                is_asked.set()
                may_answer.wait(30)
            return settings

    pushed: list[Any] = []
    watched = Made(lambda: cast("Any", None), lambda message: pushed.append(message["changes"]))
    watched.settings, watched._reader = there, cast("Any", Reader())
    early = asyncio.create_task(watched.refresh())
    await asyncio.to_thread(is_asked.wait, 30)
    assert await watched.refresh()
    may_answer.set()
    assert await early
    assert [changes["keys_gone"] for changes in pushed] == [["a"]]
    assert watched.settings is revoked
