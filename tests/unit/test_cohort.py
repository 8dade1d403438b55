"""Members of a cohort take their steps together, and are to everything else what asyncio's tasks are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cohort import COHORT, Member, Signal, Step

ALL = 4  # as many as are worth it


async def settled() -> None:
    """Until those that came have gone as far as they come."""
    passed = asyncio.Event()
    COHORT.behind(passed.set)
    await passed.wait()


async def test_they_go_step_by_step_and_each_in_the_order_of_coming() -> None:
    first, second, went = Step(), Step(), list[tuple[int, str]]()

    async def call(number: int) -> None:
        went.append((number, "came"))
        await first
        went.append((number, "first"))
        await second
        went.append((number, "second"))

    members = [COHORT.begin(call(number)) for number in range(ALL)]
    await settled()
    assert went == [(number, where) for where in ("came", "first", "second") for number in range(ALL)]
    assert not any(member.cancel() for member in members)  # they have ended


async def test_calls_of_two_kinds_keep_to_their_own() -> None:
    asks, answers, went = Step(), Step(), list[str]()

    async def call(name: str, step: Step) -> None:
        await step
        went.append(name)

    for number in range(ALL):
        COHORT.begin(call(f"ask {number}", asks))
        COHORT.begin(call(f"answer {number}", answers))
    await settled()
    assert went == [f"{kind} {number}" for kind in ("ask", "answer") for number in range(ALL)]


@pytest.mark.parametrize("count", [1, 2])
async def test_few_do_not_stay(count: int) -> None:
    step, went = Step(), list[tuple[int, str]]()

    async def call(number: int) -> None:
        went.append((number, "came"))
        await step
        went.append((number, "went on"))

    for number in range(count):
        COHORT.begin(call(number))
    await settled()
    assert went == [(number, where) for number in range(count) for where in ("came", "went on")]


async def test_a_task_of_asyncios_passes_every_step_and_is_woken_by_a_signal() -> None:
    step, signal = Step(), Signal()

    async def call() -> str:
        await step
        await signal
        return "done"

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    signal.set()
    assert await task == "done"


async def test_who_is_first_does_not_wait_for_all_of_a_crowd_nor_does_the_loop() -> None:
    step, went, between = Step(), list[int](), list[int]()
    crowd = 100

    async def call(number: int) -> None:
        went.append(number)
        await step
        went.append(number + crowd)

    for number in range(crowd):
        COHORT.begin(call(number))

    def look() -> None:
        between.append(len(went))
        if len(went) < 2 * crowd:
            COHORT.behind(look)

    COHORT.behind(look)
    while len(went) < 2 * crowd:
        await settled()
    assert sorted(went) == list(range(2 * crowd))
    assert went.index(crowd) < went.index(crowd - 1)
    assert between == [64, 128, 192, 200]


async def test_those_who_are_woken_in_one_turn_go_on_together() -> None:
    step, went, signals = Step(), list[str](), [Signal() for _ in range(ALL)]

    async def call(signal: Signal) -> None:
        await signal
        went.append("woken")
        await step
        went.append("went on")

    for signal in signals:
        COHORT.begin(call(signal))
    await settled()
    for signal in signals:
        signal.set()
    assert went == []
    await settled()
    assert went == ["woken"] * ALL + ["went on"] * ALL


async def test_a_signal_before_anybody_waits_wakes_nobody_and_twice_is_once() -> None:
    signal, woken = Signal(), list[int]()

    async def call() -> None:
        for number in range(2):
            await signal
            woken.append(number)

    signal.set()
    member = COHORT.begin(call())
    await settled()
    assert woken == []
    signal.set()
    signal.set()
    await settled()
    assert woken == [0]
    member.cancel()
    await settled()


async def test_futures_sleeps_and_time_outs_are_as_in_a_task() -> None:
    said = list[str]()
    future = asyncio.get_running_loop().create_future()

    async def call() -> None:
        said.append(await future)
        await asyncio.sleep(0)
        said.append(await asyncio.to_thread(str, 1))
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            said.append("timed out")
        assert (member.cancelling(), asyncio.current_task()) == (0, member)
        try:
            async with asyncio.timeout(0):
                await Signal()
        except TimeoutError:
            said.append("again")
        over.set()

    over = asyncio.Event()
    member = COHORT.begin(call())
    future.set_result("answer")
    await over.wait()
    assert said == ["answer", "1", "timed out", "again"]


async def _future(outcome: str) -> object:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    ends: dict[str, Callable[[], object]] = {
        "result": lambda: future.set_result("result"),
        "error": lambda: future.set_exception(ValueError("error")),
        "cancelled": future.cancel,
    }
    loop.call_soon(ends[outcome])
    return await future


async def _timed_out(seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await asyncio.sleep(0.005)


async def _cancels_itself() -> None:
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    await asyncio.sleep(0)


async def _cancelled_by_another(awaited: Awaitable[object]) -> None:
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().call_soon(current.cancel)
    await awaited


async def _cancelled_and_woken_in_one_turn() -> None:
    current, signal = asyncio.current_task(), Signal()
    assert current is not None
    asyncio.get_running_loop().call_soon(lambda: (signal.set(), current.cancel()))
    await signal


async def _shielded() -> object:
    return await asyncio.shield(asyncio.ensure_future(_future("result")))


async def _gathered() -> object:
    return await asyncio.gather(_future("result"), _timed_out(1), return_exceptions=True)


async def _none() -> None:
    await Step()


AWAITED: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
    "result": lambda: _future("result"),
    "error": lambda: _future("error"),
    "cancelled": lambda: _future("cancelled"),
    "sleep": lambda: asyncio.sleep(0, "slept"),
    "in time": lambda: _timed_out(1),
    "too late": lambda: _timed_out(0),
    "cancels itself": _cancels_itself,
    "cancelled at a future": lambda: _cancelled_by_another(asyncio.Event().wait()),
    "cancelled at a signal": lambda: _cancelled_by_another(Signal()),
    "cancelled in a time-out": lambda: _cancelled_by_another(_timed_out(1)),
    "cancelled and woken": _cancelled_and_woken_in_one_turn,
    "shielded": _shielded,
    "gathered": _gathered,
    "nothing": _none,
}


@given(programs=st.lists(st.lists(st.sampled_from(sorted(AWAITED)), max_size=5), min_size=1, max_size=5))
def test_they_see_what_tasks_see(programs: list[list[str]]) -> None:
    async def call(program: list[str], said: list[object], over: asyncio.Event) -> None:
        for name in program:
            try:
                said.append((name, repr(await AWAITED[name]())))
            except (asyncio.CancelledError, ValueError, TimeoutError) as error:
                current = asyncio.current_task()
                assert current is not None
                said.append((name, type(error), current.cancelling()))
                if current.uncancel():
                    said.append("asked more than once")
        over.set()

    async def all_said(begin: Callable[[Coroutine[Any, Any, None]], object]) -> list[list[object]]:
        said: list[list[object]] = [[] for _ in programs]
        overs = [asyncio.Event() for _ in programs]
        kept = [begin(call(*one)) for one in zip(programs, said, overs, strict=True)]
        async with asyncio.timeout(10):
            for over in overs:
                await over.wait()
        assert len(kept) == len(said)
        return said

    assert asyncio.run(all_said(COHORT.begin)) == asyncio.run(all_said(asyncio.create_task))


@pytest.mark.parametrize("kind", ["signal", "future", "step", "nothing yet"])
async def test_one_that_is_cancelled_ends_where_it_waits(kind: str) -> None:
    step, ends = Step(), list[str]()
    awaited: Any = {"future": asyncio.get_running_loop().create_future(), "step": step}.get(kind, Signal())

    async def call() -> None:
        try:
            if kind == "step" and len(members) == ALL:
                members[0].cancel()  # which stays at the step by now
            await awaited
            ends.append("passed")
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    members = list[Member]()
    members += [COHORT.begin(call()) for _ in range(ALL if kind == "step" else 1)]
    if kind != "nothing yet":
        await settled()
    members[0].cancel()
    await settled()
    await asyncio.sleep(0)
    await settled()
    expected = {"step": ["cancelled", *["passed"] * (ALL - 1)], "nothing yet": []}
    assert ends == expected.get(kind, ["cancelled"])
    assert not members[0].cancel()


async def test_one_that_swallows_its_cancellation_goes_on() -> None:
    ends = list[str]()

    async def call() -> None:
        try:
            await Signal()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            ends.append("settled")

    member = COHORT.begin(call())
    await settled()
    assert member.cancel()
    while not ends:
        await asyncio.sleep(0)
    assert not member.cancel()


class Panicked(BaseException):
    """As what is written in Rust fails: pyo3's `PanicException` is no `Exception`."""


@pytest.mark.parametrize("error", [ValueError, Panicked])
async def test_what_fails_is_logged_and_takes_nobody_along(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    step, went = Step(), list[int]()

    async def call(number: int) -> None:
        await step
        if number == 1:
            raise error(number)
        went.append(number)

    for number in range(ALL):
        COHORT.begin(call(number))
    with caplog.at_level(logging.ERROR, "taximeter.data"):
        await settled()
    assert went == [0, 2, 3]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [error]


def test_those_of_a_loop_that_is_gone_keep_nobody_waiting() -> None:
    went = list[str]()

    async def call(name: str) -> None:
        went.append(name)

    never = call("never")
    gone = asyncio.new_event_loop()
    gone.call_soon(COHORT.begin, never)
    gone.call_soon(gone.stop)
    gone.run_forever()
    gone.close()
    never.close()

    async def here() -> None:
        COHORT.begin(call("here"))
        await settled()

    asyncio.run(here())
    assert went == ["here"]


async def test_what_is_to_come_behind_them_comes_behind_them() -> None:
    went = list[str]()

    async def call() -> None:
        COHORT.behind(lambda: went.append("behind"))
        await asyncio.sleep(0)
        went.append("later")

    for _ in range(2):
        COHORT.begin(call())
    COHORT.behind(lambda: went.append("asked before"))
    await settled()
    assert went == ["asked before", "behind", "behind"]
    while len(went) < 5:
        await asyncio.sleep(0)
    assert went[3:] == ["later", "later"]
