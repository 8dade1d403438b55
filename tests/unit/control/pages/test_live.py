"""What the page's watchers get: only what changed, soon after it did, and nothing is asked where nobody watches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from proxy.control.pages import live
from proxy.control.pages.live import Live, LiveQuery, LiveZones
from proxy.control.state import Unavailable


class Counted:
    """A query whose answers are counted; `answer` makes each one from the count."""

    def __init__(self, answer: Any = lambda count: {"part": f"answer {count}"}) -> None:
        self.count = 0
        self.answer = answer
        self.query = LiveQuery("counted", self)

    def __call__(self) -> Mapping[str, Any]:
        self.count += 1
        answer: Mapping[str, Any] = self.answer(self.count)
        return answer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LEAST_S", 0.05)
    monkeypatch.setattr(live, "HEARTBEAT_S", 30)


async def start(*counted: Counted) -> Live:
    return Live([[one.query] for one in counted], asyncio.get_running_loop())


async def until_part(watch: Any, name: str, value: Any) -> None:
    async for parts in watch:
        if parts.get(name) == value:
            return
    raise AssertionError(f"the watch ended before {name} was {value!r}")


async def test_without_a_watcher_nothing_is_asked() -> None:
    counted = Counted()
    page = await start(counted)
    page.shipped()
    await asyncio.sleep(0.2)
    assert counted.count == 0


async def test_a_commit_is_told_to_every_watcher() -> None:
    counted = Counted()
    page = await start(counted)
    first, second = page.watch(), page.watch()
    await until_part(first, "part", "answer 1")
    await until_part(second, "part", "answer 1")
    threading.Thread(target=page.shipped).start()
    await until_part(first, "part", "answer 2")
    await until_part(second, "part", "answer 2")
    assert counted.count == 2  # one query for both
    await first.aclose()
    await second.aclose()


async def test_the_last_watcher_to_leave_ends_the_asking() -> None:
    counted = Counted()
    page = await start(counted)
    first, second = page.watch(), page.watch()
    await until_part(first, "part", "answer 1")
    await until_part(second, "part", "answer 1")
    await first.aclose()
    page.shipped()
    await until_part(second, "part", "answer 2")
    await second.aclose()
    assert page.watchers == 0
    page.shipped()
    await asyncio.sleep(0.2)
    assert counted.count == 2
    again = page.watch()
    assert await anext(again) == {}
    await until_part(again, "part", "answer 3")
    await again.aclose()


async def test_many_commits_are_one_answer() -> None:
    counted = Counted()
    page = await start(counted)
    watch = page.watch()
    await until_part(watch, "part", "answer 1")
    began = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < began + 0.5:
        page.shipped()
        await asyncio.sleep(0.001)
    assert 2 <= counted.count <= 12  # 0.5 s at one in 0.05 s, not 500
    await watch.aclose()


async def test_a_slow_query_is_run_seldom() -> None:
    """0.2 s of work at most a tenth of the time; its neighbours are fresh all the same."""
    cheap, dear = Counted(lambda count: {"cheap": count}), Counted(lambda count: {"dear": time.sleep(0.2) or count})
    page = Live([[cheap.query, dear.query]], asyncio.get_running_loop())
    watch = page.watch()
    await until_part(watch, "dear", 1)
    for count in (2, 3, 4):
        page.shipped()
        await until_part(watch, "cheap", count)
    assert dear.count == 1
    await watch.aclose()


async def test_a_lane_holds_up_no_other() -> None:
    blocked = threading.Event()
    cheap, dear = Counted(lambda count: {"cheap": count}), Counted(lambda count: {"dear": blocked.wait(30)})
    page = await start(dear, cheap)
    watch = page.watch()
    await until_part(watch, "cheap", 1)
    page.shipped()
    await until_part(watch, "cheap", 2)
    assert (cheap.count, dear.count) == (2, 1)
    blocked.set()
    await until_part(watch, "dear", True)
    await watch.aclose()


async def test_only_what_changed_is_sent() -> None:
    counted = Counted(lambda count: {"still": "same", "moving": str(count)})
    page = await start(counted)
    watch = page.watch()
    await until_part(watch, "moving", "1")
    page.shipped()
    async for parts in watch:
        if parts:
            assert parts == {"moving": "2"}
            break
    await watch.aclose()


async def test_the_heartbeat_looks_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.1)
    counted = Counted()
    page = await start(counted)
    watch = page.watch()
    await until_part(watch, "part", "answer 3")
    await watch.aclose()
    assert counted.count >= 3


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperationalError("SELECT", {}, Exception("gone")), "The ledger database does not answer."),
        (Unavailable("No data plane answers."), "No data plane answers."),
        (KeyError("x"), "The page's counted failed; the log says why."),
    ],
)
async def test_a_query_that_fails_is_told_and_comes_back(error: Exception, told: str) -> None:
    def answer(count: int) -> Mapping[str, Any]:
        if count == 2:
            raise error
        return {"part": f"answer {count}"}

    counted, other = Counted(answer), Counted(lambda count: {"other": count})
    page = await start(counted, other)
    watch = page.watch()
    await until_part(watch, "problem", "")
    page.shipped()
    seen: dict[str, Any] = {}
    async for parts in watch:
        seen |= parts
        if seen.get("problem") and "other" in seen:
            assert seen["problem"] == told
            assert seen.get("part", "answer 1") == "answer 1"  # the old one stays on the page
            break
    page.shipped()
    async for parts in watch:
        if "problem" in parts:
            assert parts == parts | {"problem": "", "part": "answer 3"}
            break
    await watch.aclose()


async def test_closing_ends_every_watch() -> None:
    page = await start(Counted())
    watch = page.watch()
    await until_part(watch, "part", "answer 1")
    page.close()
    assert [parts async for parts in watch] == []
    assert page.watchers == 0


async def test_a_zone_is_asked_for_itself_and_all_are_told_of_a_commit() -> None:
    asked: dict[str, Counted] = {}

    def lanes(tz: str) -> list[list[LiveQuery]]:
        asked[tz] = Counted(lambda count: {"part": f"{tz} {count}"})
        return [[asked[tz].query]]

    zones = LiveZones(lanes, asyncio.get_running_loop())
    watches = {tz: zones.of(tz).watch() for tz in ("UTC", "Asia/Tokyo")}
    assert zones.of("UTC") is zones.of("UTC")
    for tz, watch in watches.items():
        await until_part(watch, "part", f"{tz} 1")
    zones.shipped()
    for tz, watch in watches.items():
        await until_part(watch, "part", f"{tz} 2")
    zones.close()
    for watch in watches.values():
        assert [parts async for parts in watch] == []
    assert [parts async for parts in zones.of("Europe/Berlin").watch()] == []
