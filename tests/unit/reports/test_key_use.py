"""Keys with their use, and keys that nobody could use."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from proxy.ledger.database import open_ledger
from proxy.reports.calendar import spend_by
from proxy.reports.key_use import key_use, why_unusable
from proxy.reports.spend import spend
from tests.support.made_up import fill, made_up

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def test_what_keys_came_to_is_what_the_reports_say(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(ledger, made_up(300, hours=24 * 20))
    used = key_use(ledger)
    by_key = {row.group["key"]: row for row in spend(ledger, ["key"], None, None)}
    days = [row.group for row in spend(ledger, ["key", "day"], None, None)]
    ledger.dispose()

    assert {key: use[2:] for key, use in used.items()} == {
        key: (row.requests, row.cost_nanousd, row.unpriced_requests) for key, row in by_key.items() if key is not None
    }
    assert {key: use.last_used for key, use in used.items()} == {
        key: max(group["day"] or "" for group in days if group["key"] == key)[:10] for key in used
    }


def test_the_day_of_a_last_call_is_one_of_the_zone_that_is_asked(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    fill(ledger, made_up(300, hours=24 * 20))
    used = key_use(ledger)
    zone = ZoneInfo("Pacific/Auckland")
    days = [row.group for row in spend_by(ledger, ["key", "day"], None, None, zone=zone)]
    ledger.dispose()

    told = {key: use.last_day(zone) for key, use in used.items()}
    assert told == {key: max(group["day"] or "" for group in days if group["key"] == key)[:10] for key in used}
    assert any(use.last_day(zone) != use.last_used for use in used.values())


@pytest.mark.parametrize(
    ("models", "expires", "says"),
    [
        (["nope"], None, "'nope' is not a model here"),
        (["gpt-5", "claude-*"], None, "'claude-*'"),
        (None, datetime(2020, 1, 1, tzinfo=UTC), "is over already"),
        (["gpt-5"], NOW, "is over already"),
    ],
)
def test_a_key_that_nobody_could_use_is_told(models: list[str] | None, expires: datetime | None, says: str) -> None:
    assert says in (why_unusable(models, expires, ["gpt-*", "local"], NOW.timestamp()) or "")


@pytest.mark.parametrize(
    ("models", "known"),
    [(["gpt-5-mini"], ["gpt-*"]), (["gpt-*"], ["gpt-5"]), (["*"], ["local"]), (["any"], []), (None, ["x"])],
)
def test_a_key_that_somebody_can_use_is_none_of_them(models: list[str] | None, known: list[str]) -> None:
    assert why_unusable(models, datetime(2027, 1, 1, tzinfo=UTC), known, NOW.timestamp()) is None
