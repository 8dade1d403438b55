"""Commands and ledgers: none is made in passing, and one that does not open is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli.main import app

COMMANDS = [["spend"], ["budgets", "list"], ["budgets", "raises"], ["keys", "list"], ["keys", "create", "x"], ["sessions", "top"], ["verify"]]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_in_another_folder_no_ledger_is_made(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    done = CliRunner().invoke(app, command)

    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: there is no ledger at {tmp_path}/taximeter.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("ledger", ["postgresql://u:ge@heim:1@127.0.0.1:1/x", "sqlite:////proc/version"])
def test_a_ledger_that_does_not_open_is_one_sentence(command: list[str], ledger: str, tmp_path: Path) -> None:
    config = tmp_path / "taximeter.yaml"
    config.write_text(json.dumps({"ledger": ledger}))
    done = CliRunner().invoke(app, [*command, "--config", str(config)])

    assert done.exit_code == 1
    assert done.stderr.startswith("error: the ledger cannot be opened: ")
    assert (len(done.stderr.splitlines()), "heim" in done.stderr) == (1, False)
