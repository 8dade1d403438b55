"""Calendar windows: every instant lies in exactly one, and clock changes neither repeat nor drop any."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.budgets.budget import Amounts, BudgetIndex, compile_budgets, window_at
from proxy.config import model as config
from proxy.types import Identity, Route

BERLIN = ZoneInfo("Europe/Berlin")
WINDOWS = ["minute", "hour", "day", "week", "month"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("minute", "2026-11-23T12:34:56+00:00", "2026-11-23T12:34:00+00:00", "2026-11-23T12:35:00+00:00"),
        ("hour", "2026-11-23T12:34:56+00:00", "2026-11-23T12:00:00+00:00", "2026-11-23T13:00:00+00:00"),
        ("day", "2026-11-23T23:30:00+00:00", "2026-11-23T23:00:00+00:00", "2026-11-24T23:00:00+00:00"),
        ("week", "2026-11-22T12:00:00+00:00", "2026-11-15T23:00:00+00:00", "2026-11-22T23:00:00+00:00"),
        ("month", "2026-03-31T22:30:00+00:00", "2026-03-31T22:00:00+00:00", "2026-04-30T22:00:00+00:00"),
        ("day", "2026-03-29T10:00:00+00:00", "2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00"),
        ("day", "2026-10-25T10:00:00+00:00", "2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00"),
    ],
)
def test_windows_follow_the_calendar_of_their_zone(window: str, now: str, start: str, end: str) -> None:
    """Days are 23 and 25 hours long at the clock changes; a week begins on Monday."""
    assert window_at(window, at(now), BERLIN) == (at(start), at(end))


def test_total_has_one_window_without_an_end() -> None:
    assert window_at("total", at("2026-11-23T12:00:00+00:00"), BERLIN) == (0, None)


@given(
    st.sampled_from(WINDOWS),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
)
def test_windows_tile_time(window: str, moment: datetime, zone: str) -> None:
    """An instant lies within its window, the next window begins where it ends, and every instant of it agrees."""
    now = int(moment.replace(tzinfo=UTC).timestamp())
    start, end = window_at(window, now, ZoneInfo(zone))
    assert end is not None
    assert start <= now < end
    assert window_at(window, start, ZoneInfo(zone)) == (start, end)
    assert window_at(window, end - 1, ZoneInfo(zone)) == (start, end)
    assert window_at(window, end, ZoneInfo(zone))[0] == end


ROUTE = Route("m", "up", "fake", "m")
BUDGETS = compile_budgets([
    config.Budget(name="company", limit_usd=Decimal(5), window="total"),
    config.Budget(name="blue", match={"team": ("blue",)}, limit_usd=Decimal(5), window="total"),
    config.Budget(name="each-team", per=("team",), limit_usd=Decimal(5), window="total"),
    config.Budget(name="pairs", per=("key", "agent"), limit_usd=Decimal(5), window="total"),
    config.Budget(name="writers", match={"agent": ("writer",)}, limit_usd=Decimal(5), window="total"),
    config.Budget(name="labels", match={"label.env": ("prod",)}, limit_usd=Decimal(5), window="total"),
])  # fmt: skip


def attributes(identity: Identity, agent: str | None = None) -> dict[str, str | None]:
    labels = {f"label.{name}": value for name, value in identity.labels.items()}
    return {"key": identity.key, "team": identity.team, "model": "m", "agent": agent, "session": "s", **labels}


def counted(index: BudgetIndex, identity: Identity, agent: str | None = None) -> dict[str, str]:
    _, taken = index.claims(identity, ROUTE, attributes(identity, agent), Amounts(7, {}), 1e9)
    assert all(claim.amount == 7 and claim.limit == 5_000_000_000 for claim in taken)
    return {claim.budget: claim.group for claim in taken}


def test_a_call_counts_in_the_budgets_that_its_key_its_model_and_its_agent_say() -> None:
    index, red = BudgetIndex(BUDGETS), Identity("id", "k", team="red")
    for _ in range(2):  # the second time by what is remembered
        assert counted(index, red) == {"company": "", "each-team": "red", "pairs": '["k", "(none)"]'}
        assert counted(index, red, "writer") == {
            "company": "", "each-team": "red", "pairs": '["k", "writer"]', "writers": ""
        }  # fmt: skip


def test_what_is_remembered_of_a_key_holds_for_that_very_identity() -> None:
    """A key that was replaced, or got another team or label, counts where it does now."""
    index = BudgetIndex(BUDGETS)
    assert counted(index, Identity("id", "k", team="red"))["each-team"] == "red"
    assert counted(index, Identity("id", "k", team="blue")).keys() >= {"blue", "each-team"}
    assert counted(index, Identity("id", "k", team="blue"))["each-team"] == "blue"
    assert "labels" in counted(index, Identity("id", "k", labels={"env": "prod"}))


def test_what_is_remembered_of_a_key_is_what_it_says_itself() -> None:
    """Not what one caller knows of it: a session that began before its label changed, a file that is looked at."""
    index, prod = BudgetIndex(BUDGETS), Identity("id", "k", labels={"env": "prod"})
    for known in ({}, {"label.env": "dev"}):
        index.claims(prod, ROUTE, {"key": "k", "model": "m", **known}, Amounts(1, {}), 1e9)
        assert "labels" in counted(index, prod)
    assert "labels" in {budget.name for budget in index.candidates(prod, ROUTE)}


def test_whose_labels_are_trusted_is_looked_at_in_every_call() -> None:
    index, trusted = BudgetIndex(BUDGETS), Identity("id", "k", trust_labels=True)
    for team in ("red", "blue"):
        budgets, taken = index.claims(trusted, ROUTE, {"team": team, "key": "k"}, Amounts(1, {}), 1e9)
        assert {claim.group for claim in taken if claim.budget == "each-team"} == {team}
        assert ("blue" in {budget.name for budget in budgets}) == (team == "blue")


def test_a_key_that_may_name_anybody_is_held_to_what_holds_whomever_it_names() -> None:
    """A file is uploaded before anything says for which customer or label its batch will run: another team's budget, or that of
    a label, says nothing of it."""
    named = [
        config.Budget(name="user", match={"user": ("ann",)}, limit_usd=Decimal(5), window="total"),
        config.Budget(name="key", match={"key": ("k*",)}, per=("customer",), limit_usd=Decimal(5), window="total"),
        config.Budget(name="model", match={"model": ("other",)}, limit_usd=Decimal(5), window="total"),
    ]
    index = BudgetIndex((*BUDGETS, *compile_budgets(named)))
    trusted = Identity("id", "k1", team="red", user="ann", trust_labels=True)
    assert {budget.name for budget in index.certain(trusted, ROUTE)} == {"company", "each-team", "pairs", "key"}
    own = Identity("id", "k1", team="red", user="ann")
    assert {budget.name for budget in index.certain(own, ROUTE)} == {
        "company", "each-team", "pairs", "key", "user", "writers"
    }  # fmt: skip
