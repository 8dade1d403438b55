"""What one team's bills teach is for that team, fades, is bounded by what a model can do, and can be taken back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from proxy.ceilings.learned import Learned
from proxy.cli.prices import app
from proxy.times import now_s
from tests.flow.house import KEY, Build, House, whole

OTHERS_KEY = "sk-other-0123456789abcdef"
DAY_S = 86_400
OVER = {"prompt_tokens": 7000, "completion_tokens": 10}


def _house(build: Build, **changes: Any) -> House:
    keys = [{"name": "k", "key": KEY, "team": "t"}, {"name": "o", "key": OTHERS_KEY, "team": "others"}]
    return build(**({"budgets": [{"name": "b", "limit_usd": "100", "window": "total"}], "keys": keys} | changes))


def _reserved(house: House) -> list[int]:
    return [record["reserved_nanousd"] for record in house.records() if record["t"] == "intent"]


async def test_one_teams_overrun_is_no_other_teams(build: Build) -> None:
    house = _house(build)
    await house.ask(whole(usage=OVER))
    await house.ask()
    await house.ask(key=OTHERS_KEY)
    first, again, others = _reserved(house)
    assert again > first == others


async def test_no_overrun_teaches_more_than_the_model_can_do(build: Build) -> None:
    house = _house(build)
    house.plane.learned.overran("team:t", "acme", "m", 10**12, 1, now_s())
    await house.ask()
    assert _reserved(house) == [8000 * 1000 + 4000 * 2000]


@pytest.mark.parametrize(
    ("fields", "headers", "usage"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}, {}, {}),
        ({"service_tier": "flex"}, {}, {"service_tier": "flex"}),
        ({}, {}, {"usage": OVER | {"prompt_tokens": 10**9}}),
        ({}, {}, {"usage": OVER | {"prompt_tokens": 8001}}),
        ({}, {}, {"usage": OVER | {"total_tokens": 1}}),
    ],
    ids=["media", "tier", "implausible", "beyond the context", "inconsistent"],
)  # fmt: skip
async def test_nothing_is_learned_of_what_others_control(
    build: Build, fields: dict[str, Any], headers: dict[str, str], usage: dict[str, Any]
) -> None:
    house = _house(build, prices=[{"provider": "acme", "model": "m", "input": "1", "output": "2"}])
    answer = {"usage": OVER | {"completion_tokens": 5000}} | usage
    await house.ask(whole(**answer), headers=headers, **fields)
    assert house.records()[-1]["t"] == "settle"
    assert house.plane.learned.factors(now_s()) == {}


def test_half_is_forgotten_with_every_day() -> None:
    learned = Learned()
    learned.overran("team:t", "p", "m", 900, 100, 0)
    days = [learned.factor("team:t", "p", "m", day * DAY_S) for day in range(5)]
    assert days == [9.0, 5.0, 3.0, 2.0, 1.5]
    assert learned.factor("team:t", "p", "m", 30 * DAY_S) == 1
    learned.overran("team:t", "p", "m", 200, 100, 30 * DAY_S)
    assert learned.factor("team:t", "p", "m", 30 * DAY_S) == 2


def test_the_operator_takes_it_back_from_a_running_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"data_dir": str(data)}))
    running = Learned(data / "learned-data-0.json")
    now = now_s()
    running.overran("team:t", "p", "m", 900, 100, now)
    running.overran("team:t", "p", "other", 900, 100, now)
    assert running.factor("team:t", "p", "m", now) > 8

    cli = CliRunner()
    arguments = ["learned", "--config", str(config)]
    assert "team:t p/m: 9.00" in cli.invoke(app, arguments).output
    assert cli.invoke(app, [*arguments, "--reset", "m"]).output == "team:t p/m: taken back\n"
    os.utime(data / "learned-data-0.json")
    assert running.factor("team:t", "p", "m", now + 61) == 1
    assert running.factor("team:t", "p", "other", now + 61) > 8
    assert "p/m" not in cli.invoke(app, arguments).output


def test_what_is_raised_most_is_told_by_model_and_of_nobody() -> None:
    """As a metric has it: the most of any team, and no team's name."""
    learned = Learned()
    learned.overran("a", "acme", "maker/m", 300, 100, 1000.0)
    learned.overran("b b", "acme", "maker/m", 200, 100, 1000.0)
    learned.overran("a", "acme", "n", 10**9, 1, 1000.0)
    assert learned.most_raised(1000.0) == [("acme", "n", 100.0), ("acme", "maker/m", 3.0)]
    for number in range(1000):
        learned.overran("a", "acme", f"m{number}", 200, 100, 1000.0)
    assert len(learned.most_raised(1000.0)) == 500
