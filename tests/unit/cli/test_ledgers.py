"""Commands and ledgers: none is made in passing, and one that does not open is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.cli.problems import report_errors
from proxy.ledger.database import open_ledger
from proxy.ledger.planes.keys import create_key

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


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a ledger as `serve` makes it at its first start, and no configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAXIMETER_CONFIG", raising=False)
    open_ledger("sqlite:///taximeter.db").dispose()
    return tmp_path


EMPTY = [
    ["keys", "list"], ["budgets", "list"], ["budgets", "raises"], ["spend", "--by", "team"], ["jobs"], ["jobs", "--state", "running"],
    ["exports", "status"], ["sessions", "top"], ["prices", "learned"],
]  # fmt: skip


@pytest.mark.usefixtures("bare")
def test_where_there_is_nothing_a_sentence_says_so() -> None:
    for command in EMPTY:
        done = CliRunner().invoke(app, command)

        assert (done.exit_code, done.stderr) == (0, ""), command
        assert done.stdout.startswith(("There ", "No ", "Nothing ")), (command, done.stdout)
        assert done.stdout.endswith(".\n"), command
        if command != ["prices", "learned"]:  # the only one that has no forms
            assert json.loads(CliRunner().invoke(app, [*command, "--format", "json"]).stdout) == []
            assert len(CliRunner().invoke(app, [*command, "--format", "csv"]).stdout.splitlines()) == 1


@pytest.mark.usefixtures("bare")
def test_a_budget_that_is_not_there_has_no_raises() -> None:
    done = CliRunner().invoke(app, ["budgets", "raises", "nosuch"])

    assert (done.exit_code, done.stderr) == (1, "error: there is no budget 'nosuch'\n")


def test_a_mistyped_budget_is_answered_with_the_one_that_was_meant(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "c.yaml").write_text("budgets: [{name: per-customer, per: [customer], limit_usd: 5, window: month}]\n")
    monkeypatch.setenv("TAXIMETER_CONFIG", "c.yaml")
    for command in (["list", "per-custmer"], ["raises", "per-custmer"], ["raise", "per-custmer", "--by", "5"]):
        done = CliRunner().invoke(app, ["budgets", *command])

        assert done.stderr == "error: there is no budget 'per-custmer'; did you mean per-customer?\n"


def test_without_a_file_the_local_model_has_its_price(bare: Path) -> None:
    """As `serve` has it, which bills its first calls so: they are not repriced as unknown, and can be compared."""
    lines = bare / "calls.jsonl"
    call = {
        "id": 1,
        "provider": "llama.cpp",
        "model": "smollm2-135m",
        "dialect": "openai",
        "usage": {"prompt_tokens": 1_000_000},
    }
    lines.write_text(json.dumps(call) + "\n")
    priced = CliRunner().invoke(app, ["price", str(lines)])
    swapped = CliRunner().invoke(app, ["report", "what-if", "--swap", "gpt-5-mini=llama.cpp/smollm2-135m"])

    assert json.loads(priced.stdout)["cost_usd"] == "0.1"
    assert (swapped.exit_code, "What cost $0 would have cost $0." in swapped.stdout) == (0, True), swapped.output


@pytest.mark.parametrize("pragma", ["query_only = on", "max_page_count = 1"])
def test_a_ledger_that_opens_and_cannot_be_written_is_one_sentence(
    pragma: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk was a traceback of a hundred lines."""
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")

    @sa.event.listens_for(engine, "begin")
    def limit(connection: sa.engine.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA {pragma}")

    def command() -> None:
        for number in range(1000):
            create_key(engine, f"key-{number}")

    with pytest.raises(SystemExit) as ended:
        report_errors(command)
    engine.dispose()

    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.code, line.startswith("error: the ledger database refuses: ")) == (1, True)
