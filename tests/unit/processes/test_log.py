"""What the log says of calls: refused ones too, and no more digits than anybody reads."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from proxy.ledger.entries.row import Row, row_of
from proxy.money import usd_text
from proxy.processes.log import call_logger, log_refused


def test_refused_calls_have_a_line_for_each_reason_and_budget(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "taximeter.refused"):
        log_refused({("invalid_api_key", ""): 1, ("budget_exceeded", "every-session"): 12})
        log_refused({})

    assert caplog.messages == [
        "a call was refused: invalid_api_key",
        "12 calls were refused: budget_exceeded, budget every-session",
    ]


@pytest.mark.parametrize(
    ("took", "shown"), [(714.5419239999455, 714.542), (0.0, 0.0), (7, 7.0), (1e308, 1e308), (None, None)]
)
def test_a_call_s_line_counts_what_was_cached_and_thought(
    capsys: pytest.CaptureFixture[str], took: float | None, shown: float | None
) -> None:
    text = dict.fromkeys((name for name in Row._fields if "tokens" not in name), "x")
    tokens = {"input_tokens": 1, "cache_read_tokens": 31, "output_tokens": 5, "reasoning_tokens": 2}
    numbers: dict[str, Any] = {"ended_at": 1_795_000_000_000_001, "cost_nanousd": 5, "duration_ms": took}
    row = row_of(text | tokens | numbers)
    call_logger(1)({name: [value] for name, value in row._asdict().items()})
    line = json.loads(capsys.readouterr().err)

    assert (line["input_tokens"], line["cache_read_tokens"], line["reasoning_tokens"]) == (1, 31, 2)
    assert line["duration_ms"] == shown
    assert (line["at"], line["cost_usd"]) == ("2026-11-18T11:06:40.000001+00:00", "0.000000005")
    assert list(line) == [
        "at",
        "logger",
        "id",
        "request_id",
        "session_id",
        "key",
        "team",
        "model",
        "upstream",
        "operation",
        "stream",
        "status",
        "outcome",
        "http_status",
        "client",
        "cost_usd",
        "input_tokens",
        "cache_read_tokens",
        "output_tokens",
        "reasoning_tokens",
        "duration_ms",
    ]


@pytest.mark.parametrize(
    ("ended_at", "shown"), [(2**62, "9999-12-31T23:59:59.000000"), (-(2**62), "0001-01-01T00:00:00.000000")]
)
def test_a_time_that_no_calendar_has_costs_no_line(
    capsys: pytest.CaptureFixture[str], ended_at: int, shown: str
) -> None:
    """A damaged record's; the lines of all calls that were shipped with it were lost."""
    times = [1_795_000_000_000_001, ended_at, -1, 999_999]
    columns: dict[str, list[Any]] = {name: ["x"] * len(times) for name in Row._fields}
    columns |= {name: [0] * len(times) for name in Row._fields if "tokens" in name}
    call_logger(1)(
        columns | {"ended_at": times, "cost_nanousd": [None] * len(times), "duration_ms": [None] * len(times)}
    )
    lines = [json.loads(line) for line in capsys.readouterr().err.split("\n")[:-1]]

    assert [line["at"] for line in lines] == [
        "2026-11-18T11:06:40.000001+00:00", f"{shown}+00:00", "1969-12-31T23:59:59.999999+00:00",
        "1970-01-01T00:00:00.999999+00:00",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a", "", 'q"', "b\\s", "n\nl", "nul\0", "é", "\u2028", None, '","', "\x7f"])
@pytest.mark.parametrize("cost", [0, 1, 10, -5, 999_999_999, 1_000_000_000, 1_500_000_000, None])
def test_a_line_says_what_the_row_says(capsys: pytest.CaptureFixture[str], name: str | None, cost: int | None) -> None:
    """Whatever a client's names are, also those of the calls beside it."""
    texts = {field: ["x", name, "y"] for field in Row._fields}
    numbers: dict[str, list[Any]] = {field: [3, 20, 100] for field in Row._fields if "tokens" in field}
    numbers |= {"ended_at": [5, 6, 7], "cost_nanousd": [20_000, cost, 3], "duration_ms": [1.25, -0.0015, 2e15]}
    call_logger(1)(texts | numbers)
    first, line, last = [json.loads(line) for line in capsys.readouterr().err.split("\n")[:-1]]

    assert (first["id"], last["client"], first["cost_usd"], last["output_tokens"]) == ("x", "y", "0.00002", 100)
    assert {line[field] for field in ("id", "request_id", "session_id", "team", "client", "status")} == {name}
    assert line["cost_usd"] == (None if cost is None else usd_text(cost))
    assert (first["duration_ms"], line["duration_ms"], last["duration_ms"]) == (1.25, -0.001, 2e15)


def test_a_terminal_is_shown_the_same_calls(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    texts = {field: ["x", "y"] for field in Row._fields} | {"outcome": ["ok", "cut"], "http_status": [200, None]}
    numbers: dict[str, list[Any]] = {field: [1, 2] for field in Row._fields if "tokens" in field}
    call_logger(0)(texts | numbers | {"ended_at": [1, 2], "cost_nanousd": [5, None], "duration_ms": [None, 1500.0]})

    assert capsys.readouterr().err == "y y cut  4 in, 4 out, unpriced, 1.50 s\n"
