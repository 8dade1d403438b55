"""The short form of `make torture`: the gateway between the fake provider and the load, judged by the provider's invoice."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import jobs, ledger_failover, moved, points, scenarios, shared
from .disks import Limited, full_disk, full_spool
from .hostile import hostile_tenants
from .scenarios import Outcome
from .soak import soak
from .stampede import stampede


def passed(outcome: Outcome) -> Outcome:
    assert outcome.wrong == [], str(outcome)
    return outcome


def test_clean_mixed_traffic_leaves_every_number_at_zero(tmp_path: Path) -> None:
    outcome = passed(scenarios.clean_mix(tmp_path, calls=500))

    assert outcome.verdict.numbers["requests"] == 500


def test_a_budget_of_one_cent_holds_under_64_racing_calls(tmp_path: Path) -> None:
    outcome = passed(scenarios.racing_calls(tmp_path))

    assert outcome.verdict.budgets["small"]["most_nano"] <= 10_000_000
    assert outcome.facts["used"] > 0.5


@pytest.mark.parametrize("sessions", [0, 3])
def test_a_stampede_of_four_processes_uses_a_budget_up_and_never_passes_it(sessions: int, tmp_path: Path) -> None:
    outcome = passed(stampede(tmp_path, limit_usd="0.05" if not sessions else "0.004", sessions=sessions, calls=1200))

    assert outcome.facts["refused_402"] > 0
    assert outcome.facts["billed_of_limit"] > 0.8


def test_a_kill_in_the_middle_of_100_streams_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = passed(scenarios.kills(tmp_path, times=2))

    assert outcome.facts["owed"] >= 150
    assert outcome.verdict.numbers["unconfirmed"] > 0


def test_a_kill_at_every_named_point_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = passed(scenarios.crash_points(tmp_path, in_turn=True, calls=120))

    assert outcome.facts["kills"] == len(points.POINTS)


def test_a_point_that_nobody_knows_cannot_be_armed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no crash point"):
        points.arm(tmp_path, "after-lunch", whom="self", passes=0)


@pytest.mark.parametrize("plane", ["data", "control"])
def test_a_plane_that_is_killed_comes_back_and_loses_nothing(plane: str, tmp_path: Path) -> None:
    outcome = passed(scenarios.kills(tmp_path, times=2, streams=60, whom=plane))

    assert outcome.facts["kills_among_calls"] == "2 of 2"


def test_callers_that_leave_are_charged_to_the_nano_dollar(tmp_path: Path) -> None:
    outcome = passed(scenarios.leaving_callers(tmp_path, calls=200))

    assert outcome.verdict.numbers["over_estimated"] == outcome.verdict.numbers["unconfirmed"] == 0


def test_callers_that_leave_a_vllm_are_charged_what_it_had_made(tmp_path: Path) -> None:
    """It stops when they leave, and had said in every chunk what it came to."""
    outcome = passed(scenarios.leaving_callers(tmp_path, calls=200, bills_on=False))

    assert outcome.verdict.numbers["over_estimated_percent"] <= 5
    assert outcome.verdict.numbers["unconfirmed"] == 0


def test_some_mixed_traffic_leaves_nothing_behind(tmp_path: Path) -> None:
    # So short a time cannot tell a leak of memory from warming up.
    outcome = passed(soak(tmp_path, minutes=0.2, slack_mb=30, in_turn=True))

    assert outcome.verdict.numbers["requests"] > 500


def test_a_stop_finishes_what_was_begun(tmp_path: Path) -> None:
    outcome = passed(scenarios.rolling_stops(tmp_path, times=1))

    assert outcome.facts["exit_codes"] == [0]


def test_every_upstream_fault_has_one_entry_at_its_true_cost_or_above(tmp_path: Path) -> None:
    passed(scenarios.upstream_faults(tmp_path, timeout_s=1.0, slack_s=8.0))  # how fast is for the long form to say


@pytest.mark.needs("redis-server")
@pytest.mark.parametrize("trouble", ["frozen", "flushed", "restarted"])
def test_a_store_in_trouble_lets_nothing_pass_and_comes_back(trouble: str, tmp_path: Path) -> None:
    outcome = passed(shared.store_trouble(tmp_path, trouble=trouble, rounds=1, limit_usd="0.03"))

    assert outcome.facts["refused_503"] > 0
    assert max(outcome.facts["recovered_after_s"]) < 3
    assert outcome.facts["billed_of_limit"] > 0.8


@pytest.mark.needs("redis-server")
def test_what_a_killed_replica_reserved_is_charged_by_the_other(tmp_path: Path) -> None:
    outcome = passed(shared.replica_kills(tmp_path, max_call_s=4))

    assert outcome.verdict.numbers["unconfirmed"] > 0
    assert max(outcome.facts["free_again_after_s"]) < 8


@pytest.mark.needs("redis-server")
def test_two_workers_count_as_one(tmp_path: Path) -> None:
    outcome = passed(shared.clean_workers(tmp_path, calls=300))

    assert outcome.verdict.numbers["requests"] == 300


def test_a_full_disk_refuses_calls_and_loses_nothing(tmp_path: Path) -> None:
    _held(full_disk(tmp_path, Limited(), calls=60))


def test_a_spool_at_its_bound_refuses_calls_and_goes_on_when_the_ledger_is_back(tmp_path: Path) -> None:
    _held(full_spool(tmp_path, calls=60))


def _held(outcome: Outcome) -> None:
    passed(outcome)
    assert outcome.facts["streams"] == {200: 16}
    assert outcome.facts["while full"] == {503: 60}
    assert outcome.facts["sent while full"] == 0
    assert outcome.facts["after"] == {200: 60}


@pytest.mark.needs("redis-server")
def test_a_flush_while_a_batch_is_being_committed_costs_no_entry(tmp_path: Path) -> None:
    passed(moved.flushes(tmp_path, times=4))


@pytest.mark.needs("postgres")
def test_a_fail_over_to_a_standby_that_is_behind_costs_no_entry(tmp_path: Path) -> None:
    outcome = passed(moved.fail_overs(tmp_path, times=2, restart_each=2))

    assert outcome.facts["entries_that_copies_lacked"] > 0


@pytest.mark.needs("postgres")
def test_a_ledger_whose_primary_dies_in_a_commit_has_each_call_once(tmp_path: Path) -> None:
    ways = ledger_failover.Ways(synchronous=False, pooled=False, taken_over=False)
    outcome = passed(ledger_failover.fail_overs(tmp_path, ways, times=1, rate=20))

    assert outcome.facts["entries_that_the_standby_lacked"] > 0
    assert outcome.verdict.numbers["requests"] == 120


@pytest.mark.parametrize("redis", [False, pytest.param(True, marks=pytest.mark.needs("redis-server"))])
def test_a_clock_that_is_set_back_gives_no_window_twice(redis: bool, tmp_path: Path) -> None:
    outcome = passed(moved.clock_steps(tmp_path, times=2, redis=redis))

    assert outcome.facts["fullest"] > 0.5


def test_hostile_tenants_cost_an_honest_one_no_call_and_no_money(tmp_path: Path) -> None:
    outcome = passed(hostile_tenants(tmp_path, calls=120))

    assert outcome.facts["bill"]["invoiced_nano"] == outcome.facts["bill"]["booked_nano"] > 0
    assert outcome.facts["beside"]["calls"] == 120


def test_jobs_of_a_gateway_that_is_killed_are_each_billed_once(tmp_path: Path) -> None:
    outcome = jobs.killed_jobs(tmp_path, number=60, kills=2, max_s=6)

    assert outcome.wrong == [], str(outcome)
    assert outcome.facts["jobs at the provider"] > 20
