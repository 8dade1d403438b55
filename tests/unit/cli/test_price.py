"""`taximeter price`: the worked cases and all fixtures, digit for digit; bad lines; speed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer import Typer
from typer.testing import CliRunner

from pricing.load import load_book
from proxy.cli.price import price_command
from proxy.cli.price_lines import dump, price_lines
from tests.support.fixtures import ROOT, load
from tests.support.rows import each_row

BOOK = load_book()
WORKED = json.loads((ROOT / "worked_cases.json").read_text())
FIXTURES = load()
CASES = [json.loads(line) for line in (ROOT.parent / "cases" / "price.jsonl").read_text().splitlines()]
CHAT = {"provider": "openai", "model": "gpt-4o", "dialect": "openai.chat", "at": "2026-11-23T12:00:00Z"}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


def price(line: object) -> dict[str, Any]:
    (result,) = price_lines([json.dumps(line)], BOOK)
    return result


def assert_as_expected(result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert "error" not in result, result
    assert result["usage"] == expected["usage"]
    assert result["status"] == expected["status"], result
    assert result["flags"] == expected["flags"], result
    if expected["cost_usd"] is None:
        assert result["cost_usd"] is None
    else:
        assert result["cost_usd"] is not None
        assert abs(Decimal(result["cost_usd"]) - Decimal(expected["cost_usd"])) < Decimal("1e-12"), result["lines"]


@each_row("case", WORKED, ids=lambda case: case["in"]["id"])
def test_worked_case(case: dict[str, Any]) -> None:
    assert_as_expected(price(case["in"]), case["expect"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_reported_case(case: dict[str, Any]) -> None:
    result, expect = price(case["input"]), case["expect"]
    for field in expect.keys() & {"usage", "status", "cost_source"}:
        assert result[field] == expect[field]
    assert result["cost_usd"] == expect.get("cost", result["cost_usd"])
    assert Decimal(result["cost_usd"]) >= Decimal(expect.get("cost_at_least", 0))


@each_row("fixture", FIXTURES, ids=lambda one: one.name)
def test_fixture(fixture: Any) -> None:
    assert_as_expected(price(fixture.line), fixture.expected)


def test_the_lines_add_up_and_the_fields_are_those_of_the_contract() -> None:
    result = price({**CHAT, "id": "a", "usage": USAGE})
    assert set(result) == {
        "id", "status", "usage", "usage_source", "cost_usd", "lines", "provider_reported_cost_usd", "cost_source", "flags",
        "price_version", "model",
    }  # fmt: skip
    assert result["id"] == "a"
    assert sum(Decimal(line["cost_usd"]) for line in result["lines"]) == Decimal(result["cost_usd"])
    assert {"unit", "quantity", "price_usd", "per", "cost_usd"} <= set(result["lines"][0])


@each_row(
    ("raw", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be a JSON object"),
        ('"x"', "must be a JSON object"),
        (json.dumps({**CHAT, "provider": None, "usage": {}}), "provider: must be"),
        (json.dumps({**CHAT, "model": 7, "usage": {}}), "model: must be"),
        (json.dumps({**CHAT, "usage": {}, "response": {}}), "give one of"),
        (json.dumps(CHAT), "has none of response, usage and events"),
        (json.dumps({**CHAT, "events": {}}), "events: must be a list"),
        (json.dumps({**CHAT, "usage": USAGE, "request": 7}), "request: must be an object"),
        (json.dumps({**CHAT, "usage": USAGE, "at": "yesterday"}), "at: 'yesterday' is not a time"),
        (json.dumps({**CHAT, "usage": USAGE, "at": 1e300}), "at: "),
        (
            json.dumps({**CHAT, "usage": USAGE, "prices": [{"provider": "openai", "model": "*", "input": "-1"}]}),
            "prices[0]",
        ),
        (json.dumps({**CHAT, "usage": USAGE, "prices": 5}), "prices: must be a list"),
        (json.dumps({**CHAT, "dialect": "nobody.knows", "response": {"x": 1}}), "unknown dialect 'nobody.knows'"),
        (json.dumps({**CHAT, "dialect": "session", "response": {"session": [7]}}), "response.session[0]"),
        (json.dumps({**CHAT, "dialect": "session", "response": {}}), "response.session: must be the list"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_the_rest_go_on(raw: str, message: str) -> None:
    good = json.dumps({**CHAT, "id": "good", "usage": USAGE})
    first, second = price_lines([raw, good], BOOK)
    assert set(first) == {"id", "error"}
    assert first["error"].startswith("line 1: ")
    assert message in first["error"]
    assert second["status"] == "priced"


def test_an_unknown_dialect_with_a_familiar_shape_is_read_by_its_shape() -> None:
    assert price({**CHAT, "dialect": "acme.chatter", "response": {"usage": USAGE}})["cost_usd"] == "0.0035"


def test_nan_is_a_value_to_reject_not_a_broken_line() -> None:
    line = {**CHAT, "provider": "openrouter", "model": "openai/gpt-4o", "dialect": "openrouter.chat"}
    raw = json.dumps({**line, "usage": {**USAGE, "cost": float("nan")}})
    assert "NaN" in raw
    (result,) = price_lines([raw], BOOK)
    assert (result["cost_source"], result["flags"]) == ("computed", ["rejected_provider_cost"])


def test_a_stream_without_usage_is_counted_and_says_so() -> None:
    events = [{"choices": [{"delta": {"content": "hello world"}}]}, "[DONE]"]
    line = {**CHAT, "dialect": "openai.chat.stream", "events": events}
    result = price(line)
    assert (result["usage"], result["usage_source"]) == ({"output": "2"}, "estimated")
    assert (result["status"], result["flags"]) == ("partial", ["estimated", "input_unknown"])
    asked = price({**line, "request": {"messages": [{"role": "user", "content": "Hello!"}]}})
    assert (asked["usage"]["input"], asked["status"], asked["flags"]) == ("9", "priced", ["estimated"])


@pytest.mark.parametrize("name", ["x", 7, None, ["a"], "\ud800"])
def test_any_id_comes_back(name: object) -> None:
    (result,) = price_lines([json.dumps({**CHAT, "id": name, "usage": USAGE})], BOOK)
    assert json.loads(dump(result))["id"] == name


app = Typer()
app.command()(price_command)
runner = CliRunner()


def test_the_command_reads_a_file_and_fails_on_a_bad_line(tmp_path: Path) -> None:
    good, file = json.dumps({**CHAT, "usage": USAGE}), tmp_path / "lines.jsonl"
    file.write_text(f"{good}\n\n{good}\n")
    done = runner.invoke(app, [str(file)])
    assert done.exit_code == 0
    assert [json.loads(line)["cost_usd"] for line in done.stdout.splitlines()] == ["0.0035", "0.0035"]
    file.write_text(f"{good}\nnonsense\n{good}\n")
    done = runner.invoke(app, [str(file)])
    assert done.exit_code == 1
    assert [("error" in json.loads(line)) for line in done.stdout.splitlines()] == [False, True, False]


def test_the_command_reads_standard_input() -> None:
    done = runner.invoke(app, ["-"], input=json.dumps({**CHAT, "usage": USAGE}))
    assert (done.exit_code, json.loads(done.stdout)["status"]) == (0, "priced")


def test_a_missing_file_is_the_callers_mistake(tmp_path: Path) -> None:
    assert runner.invoke(app, [str(tmp_path / "none")]).exit_code == 2


def test_output_is_json_however_odd_the_usage() -> None:
    line = {**CHAT, "usage": {"prompt_tokens": 10**30, "completion_tokens": -1, "total_tokens": "x"}}
    assert orjson.loads(dump(price(line)))["flags"] == ["implausible", "inconsistent_usage"]
