"""The short form of `make torture`'s network faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import networks
from .test_torture import passed


def test_an_upstream_behind_a_bad_network_has_one_entry_a_call(tmp_path: Path) -> None:
    outcome = passed(networks.bad_upstream(tmp_path, calls=60, timeout_s=1.0))

    assert outcome.verdict.numbers["entries"] == 60 * len(networks.UPSTREAM_FAULTS)
    assert outcome.verdict.numbers["void"] > 0  # where nobody listened, it was surely not sent
    assert outcome.verdict.numbers["unconfirmed"] > 0


@pytest.mark.needs("postgres")
def test_lost_replies_of_the_database_lose_and_double_nothing(tmp_path: Path) -> None:
    outcome = passed(networks.lossy_database(tmp_path, calls=180, share=0.1, resets=2))

    assert outcome.facts["lost_replies"] > 0


@pytest.mark.needs("postgres")
def test_a_database_that_is_away_costs_only_time(tmp_path: Path) -> None:
    outcome = passed(networks.away_database(tmp_path, seconds=2))

    assert outcome.verdict.numbers["requests"] == 400


@pytest.mark.needs("redis-server")
def test_lost_replies_of_the_budget_store_leave_nothing_reserved(tmp_path: Path) -> None:
    outcome = passed(networks.lossy_store(tmp_path, calls=300))

    assert outcome.facts["lost_replies"] > 0
