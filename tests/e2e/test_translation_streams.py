"""Streams as servers send them in the field, and worse: what passes LiteLLM by comes out as LiteLLM has it, and so does the bill."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT


@pytest.mark.timeout(240)
def test_odd_streams_come_out_as_litellm_has_them_and_cost_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.odd_streams"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]

    assert [(name, quick, slow) for name, _, quick, slow in lines if quick != slow] == []
    told = {
        name: (text, json.loads(readings[0])["taximeter_reading"] if readings else {})
        for name, _, (_, text, readings), _ in lines
    }
    for caller, upstream, whole in (
        ("messages", "openai", "plain"), ("responses", "vllm", "plain"), ("chat", "anthropic", "plain"),
        ("messages", "gemini", "usage in each"),
    ):  # fmt: skip
        endless, plain = (told[f"{caller} {upstream}: {name}"][1] for name in ("no blank line at the end", whole))
        assert endless["usage"] == plain["usage"]
    for caller in ("chat", "responses"):
        for name in ("anthropic: cut off", "bedrock: cut off", "bedrock: cut off in a frame"):
            assert "ended before its last event" in told[f"{caller} {name}"][0]
        garbage = told[f"{caller} bedrock: nothing that is a frame behind it"][1]
        assert (garbage["usage"], garbage["source"]) == ({"input": 21, "output": 9}, "provider")
    assert len(lines) > 120
    assert sum(passed > 0 for _, passed, *_ in lines) > len(lines) / 2, "hardly anything passes LiteLLM by"
