"""What the log says of calls: refused ones too, and no more digits than anybody reads."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest

from proxy.processes.log import call_logger, log_refused


def test_refused_calls_have_a_line_for_each_reason_and_budget(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "taximeter.refused"):
        log_refused({("invalid_api_key", ""): 1, ("budget_exceeded", "every-session"): 12})
        log_refused({})

    assert caplog.messages == [
        "a call was refused: invalid_api_key",
        "12 calls were refused: budget_exceeded, budget every-session",
    ]


@pytest.mark.parametrize(("took", "shown"), [(714.5419239999455, 714.542), (0.0, 0.0), (None, None)])
def test_a_call_s_line_counts_what_was_cached_and_thought(
    capsys: pytest.CaptureFixture[str], took: float | None, shown: float | None
) -> None:
    names = "id request_id key team model upstream operation stream status outcome http_status root_session_id client"
    row = SimpleNamespace(**dict.fromkeys(names.split(), "x"), ended_at=1_795_000_000_000_000, cost_nanousd=5)
    row.input_tokens, row.cache_read_tokens, row.output_tokens, row.reasoning_tokens, row.duration_ms = (
        1,
        31,
        5,
        2,
        took,
    )
    call_logger(1)([row])
    line = json.loads(capsys.readouterr().err)

    assert (line["input_tokens"], line["cache_read_tokens"], line["reasoning_tokens"]) == (1, 31, 2)
    assert line["duration_ms"] == shown
