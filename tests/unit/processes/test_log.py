"""What the log says of calls: refused ones too, and no more digits than anybody reads."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from proxy.ledger.row import Row, row_of
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
    call_logger(1)([row])
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
