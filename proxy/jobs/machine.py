"""What becomes of a job: the states that it can be in, what can happen to it, and what is to be done then. Pure.

| state | what it is charged with | what can come |
|---|---|---|
| `running` | nothing yet; its ceiling is reserved | its end; its deadline |
| `settled` | what its provider bills | a change: a refund, a later bill |
| `unconfirmed` | its ceiling: its deadline passed, or its end says nothing | its end |

Every change takes the job's revision one further, and is written where one that was made from an older revision is refused (the
ledger's `jobs` table): whoever sees an end first settles it, and nobody settles it twice.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["running", "settled", "unconfirmed"]
Event = Literal["ended", "ended_unknown", "overdue"]
Action = Literal["settle", "charge_ceiling", "correct", "nothing"]

RUNNING: State = "running"
SETTLED: State = "settled"
UNCONFIRMED: State = "unconfirmed"
STATES: tuple[State, ...] = (RUNNING, SETTLED, UNCONFIRMED)


class Step(NamedTuple):
    """The state that follows, and what has to be done for it."""

    state: State
    action: Action


def after(state: State, event: Event, *, same_cost: bool = False) -> Step:
    """What follows. same_cost: the end says what the job is charged with already.

    >>> after("running", "ended")
    Step(state='settled', action='settle')
    """
    if state == RUNNING:
        if event == "ended":
            return Step(SETTLED, "settle")
        return Step(UNCONFIRMED, "charge_ceiling")
    if event != "ended":  # the ceiling is charged already, or something better is known
        return Step(state, "nothing")
    if state == SETTLED and same_cost:
        return Step(SETTLED, "nothing")
    return Step(SETTLED, "correct")


def ask_again_s(state: State, *, ended: bool, age_s: float, poll_s: float, recheck_s: float | None) -> float | None:
    """In how many seconds a job's provider is to be asked again; None: never.

    ended: its end was seen. age_s: since it was created. recheck_s: when, after its end, a refund may have come; None where its
    API knows none. What runs is asked for every `poll_s`; what is overdue ever more seldom, at least once a day, for a month.
    """
    if state == RUNNING:
        return poll_s
    if state == UNCONFIRMED and not ended:
        return min(max(poll_s, age_s / 10), _DAY_S) if age_s < ASKED_FOR_S else None
    return recheck_s


_DAY_S = 86_400.0
ASKED_FOR_S = 31 * _DAY_S  # no provider keeps a job for longer
