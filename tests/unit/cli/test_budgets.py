"""`taximeter budgets`: the fullest first, and raises that can be seen, lowered and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.ledger.database import open_ledger, writing
from proxy.ledger.planes import raises
from proxy.ledger.schema import budget_spend
from proxy.money import NANO

BUDGETS = [
    {"name": "company", "limit_usd": 100, "window": "total"},
    {"name": "each", "per": ["session"], "limit_usd": 1, "window": "total"},
    {"name": "teams", "per": ["team"], "limit_requests": 10, "window": "total"},
]


class House:
    """A configuration and its ledger, and the command on them."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "taximeter.yaml"
        url = f"sqlite:///{folder}/ledger.db"
        key = {"name": "k", "key": "sk-of-the-file-of-the-test", "team": "ops"}
        self.config.write_text(json.dumps({"ledger": url, "budgets": BUDGETS, "keys": [key]}))
        self.engine: Engine = open_ledger(url)

    def spent(self, budget: str, group: str, amount: int, measure: str = "usd") -> None:
        row = {"budget": budget, "group": group, "window_start": 0, "measure": measure, "amount": amount}
        with writing(self.engine).begin() as connection:
            connection.execute(sa.insert(budget_spend), row)

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, ["budgets", *arguments, "--config", str(self.config)])

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run(*arguments, "--format", "json")
        assert done.exit_code == 0, done.output
        return list(json.loads(done.stdout))


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.spent("company", "", 90 * NANO)
    for number in range(50):
        made.spent("each", f"s{number:02}", number * NANO // 100)
    made.spent("teams", "ops", 7, "requests")
    return made


def test_the_fullest_come_first_and_only_some(house: House) -> None:
    rows = house.rows("list")

    assert len(rows) == 20
    assert [(row["budget"], row["group"], row["percent"]) for row in rows[:3]] == [
        ("company", "", 90.0),
        ("teams", "ops", 70.0),
        ("each", "s49", 49.0),
    ]
    assert "and 32 more" in house.run("list").output


def test_all_one_budget_and_one_group_can_be_asked_for(house: House) -> None:
    assert len(house.rows("list", "--all")) == 52
    assert len(house.rows("list", "--limit", "3")) == 3
    assert {row["budget"] for row in house.rows("list", "each")} == {"each"}
    assert [row["group"] for row in house.rows("list", "--group", "s03")] == ["s03"]
    assert house.run("list", "nothing").exit_code == 1


def test_a_raise_says_how_much_for_whom_and_until_when(house: House) -> None:
    done = house.run("raise", "each", "--group", "s49", "--by", "5")

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("each of s49 is raised by 5 USD, from 1 to 6, for good.")
    assert house.rows("list", "--group", "s49")[0]["limit"] == "6"


@pytest.mark.parametrize(
    "arguments",
    [
        ["each", "--by", "5"],
        ["each", "--by", "5", "--group", "nosuch"],
        ["teams", "--by", "5", "--group", "opps"],
        ["each", "--by", "5", "--group", "s01", "--all-groups"],
        ["company", "--by", "5", "--group", "x"],
        ["company", "--by", "-1"],
        ["company", "--by", "1", "--until", "2020-01-01"],
        ["company", "--by", "1", "--until", "soon"],
    ],
)
def test_what_was_hardly_meant_is_refused_and_kept_nowhere(house: House, arguments: list[str]) -> None:
    done = house.run("raise", *arguments)

    assert (done.exit_code, done.stderr[:7]) == (2, "error: ")
    assert house.rows("raises") == []


@pytest.mark.parametrize(
    "arguments",
    [["each", "--all-groups"], ["each", "--group", "nosuch", "--new-group"], ["teams", "--group", "ops"], ["company"]],
)
def test_what_was_meant_is_done(house: House, arguments: list[str]) -> None:
    assert house.run("raise", *arguments, "--by", "5").exit_code == 0
    assert len(house.rows("raises")) == 1


def test_a_group_that_only_a_key_names_is_known(house: House) -> None:
    with writing(house.engine).begin() as connection:
        connection.execute(sa.delete(budget_spend))

    assert house.run("raise", "teams", "--group", "ops", "--by", "5").exit_code == 0


def test_two_hours_are_two_hours_from_now(house: House) -> None:
    assert house.run("raise", "company", "--by", "5", "--until", "2h").exit_code == 0
    (row,) = raises.in_force(house.engine)
    assert row["until_at"] - row["created_at"] == 2 * 3600 * 1_000_000


def test_a_typo_is_lowered_or_ended_and_stays_on_record(house: House) -> None:
    house.run("raise", "company", "--by", "500")
    (row,) = house.rows("raises", "company")

    lowered = house.run("lower", row["id"], "--to", "5")
    assert lowered.stdout.startswith("company is raised by 5 USD, from 600 to 105, for good")
    (now,) = house.rows("raises")
    assert (now["by"], now["id"] != row["id"]) == ("5", True)
    assert house.run("lower", now["id"], "--to", "6").exit_code == 2
    assert len(house.rows("raises")) == 1

    ended = house.run("end", now["id"])
    assert "its limit is 100, no longer 105" in ended.stdout
    assert house.rows("raises") == []
    assert house.rows("list", "company")[0]["limit"] == "100"
    assert [house.run("end", now["id"]).exit_code, house.run("end", "none").exit_code] == [1, 1]
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(raises.raises)).scalar() == 2
