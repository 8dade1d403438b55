"""`taximeter price --config`: the operator's own prices come first, as they do in the server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli.main import app


@pytest.mark.parametrize(("own", "cost"), [(True, "7"), (False, None)])
def test_the_operator_s_own_prices_are_known(tmp_path: Path, own: bool, cost: str | None) -> None:
    config, lines = tmp_path / "taximeter.yaml", tmp_path / "calls.jsonl"
    config.write_text(json.dumps({"prices": [{"provider": "vllm", "model": "ours", "input": "7", "output": "1"}]}))
    line = {"id": 1, "provider": "vllm", "model": "ours", "dialect": "openai", "usage": {"prompt_tokens": 1_000_000}}
    lines.write_text(json.dumps(line) + "\n")

    done = CliRunner().invoke(app, ["price", str(lines), *(["--config", str(config)] if own else [])])

    assert json.loads(done.stdout)["cost_usd"] == cost


def test_prices_show_names_them(tmp_path: Path) -> None:
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"prices": [{"provider": "vllm", "model": "ours*", "input": "7", "output": "1"}]}))
    shown = CliRunner().invoke(app, ["prices", "show", "Ours-7b", "--config", str(config)])

    assert (shown.exit_code, "your own price" in shown.stdout) == (0, True)
    assert CliRunner().invoke(app, ["prices", "show", "theirs-7b", "--config", str(config)]).exit_code == 1
