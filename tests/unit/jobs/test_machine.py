"""What becomes of a job: every state, everything that can happen to it."""

from __future__ import annotations

import pytest

from proxy.jobs.machine import SETTLED, STATES, UNCONFIRMED, Event, State, after, ask_again_s


@pytest.mark.parametrize(
    ("state", "event", "same", "follows"),
    [
        ("running", "ended", False, ("settled", "settle")),
        ("running", "ended_unknown", False, ("unconfirmed", "charge_ceiling")),
        ("running", "overdue", False, ("unconfirmed", "charge_ceiling")),
        ("settled", "ended", True, ("settled", "nothing")),
        ("settled", "ended", False, ("settled", "correct")),
        ("settled", "ended_unknown", False, ("settled", "nothing")),
        ("settled", "overdue", False, ("settled", "nothing")),
        ("unconfirmed", "ended", False, ("settled", "correct")),
        ("unconfirmed", "ended", True, ("settled", "correct")),
        ("unconfirmed", "ended_unknown", False, ("unconfirmed", "nothing")),
        ("unconfirmed", "overdue", False, ("unconfirmed", "nothing")),
    ],
)
def test_what_follows(state: State, event: Event, same: bool, follows: tuple[str, str]) -> None:
    assert after(state, event, same_cost=same) == follows


def test_nothing_is_settled_twice() -> None:
    """Only what runs is settled; whatever has ended is corrected, or left alone."""
    for state in STATES:
        if state != "running":
            assert after(state, "ended").action != "settle"


def test_what_runs_is_asked_for_at_its_pace_and_what_is_overdue_ever_more_seldom() -> None:
    def pause(state: State, age_s: float, ended: bool = False, recheck_s: float | None = None) -> float | None:
        return ask_again_s(state, ended=ended, age_s=age_s, poll_s=60, recheck_s=recheck_s)

    assert pause("running", 10) == pause("running", 90_000) == 60
    assert [pause(UNCONFIRMED, days * 86_400) for days in (3, 20, 32)] == [25_920, 86_400, None]
    assert pause(UNCONFIRMED, 60, ended=True) is None
    assert (pause(SETTLED, 60, True), pause(SETTLED, 60, True, 86_400)) == (None, 86_400)
