"""`serve` begins without the library that reads command lines, and does what that would have made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from proxy.cli import serve as command
from proxy.cli.main import app
from proxy.cli.start import Serve, parse_plain
from tests.support.rows import each_row

LINES = [
    ["serve"],
    ["serve", "--config", "a.yaml"],
    ["serve", "--config=a.yaml"],
    ["serve", "--config=a=b.yaml", "--workers=4"],
    ["serve", "--workers", "2", "--standby"],
    ["serve", "--standby", "--config", "a folder/ä.yaml", "--workers", "64"],
    ["serve", "--workers", "0064"],
]
OTHERS = [
    [],
    ["spend"],
    ["--version"],
    ["serve", "--help"],
    ["serve", "--conf", "a.yaml"],
    ["serve", "a.yaml"],
    ["serve", "--config"],
    ["serve", "--config="],
    ["serve", "--config", "--standby"],
    ["serve", "--config", "a.yaml", "--config", "b.yaml"],
    ["serve", "--workers", "0"],
    ["serve", "--workers", "65"],
    ["serve", "--workers", "-1"],
    ["serve", "--workers", "two"],
    ["serve", "--workers", "٣"],
    ["serve", "--workers", "1" * 5000],
    ["serve", "--workers", "0000000641"],
    ["serve", "--standby=yes"],
    ["serve", "--standby="],
    ["serve", "--standby", "--standby"],
    ["serve", "--", "--standby"],
    ["serve", ""],
]


@pytest.mark.parametrize("arguments", LINES)
@pytest.mark.parametrize("environ", [{}, {"TAXIMETER_CONFIG": "b.yaml"}, {"TAXIMETER_CONFIG": ""}])
def test_both_ways_ask_for_the_same(
    arguments: list[str], environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Serve] = []

    def run(config: Path | None, workers: int, *, standby: bool) -> int:
        asked.append(Serve(config, workers, standby))
        return 0

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command.log, "set_up", lambda: None)
    done = CliRunner().invoke(app, arguments, env={"TAXIMETER_CONFIG": None, **environ})

    assert done.exit_code == 0, done.output
    assert [parse_plain(arguments, environ)] == asked


@each_row("arguments", OTHERS)
def test_what_needs_another_answer_is_left_to_the_library(arguments: list[str]) -> None:
    assert parse_plain(arguments, {}) is None


def _ended(*arguments: str, after: str = "") -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\nfrom proxy.cli.start import main\ntry:\n    main()\n"
        f"except SystemExit as end:\n    code = end.code\n{after}\nsys.exit(code)"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_it_is_told_what_is_wrong_a_line_each_and_without_the_library(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("server: {port: 99999}\nledger: nowhere\n")
    after = "import json\nprint(json.dumps(sorted({'typer', 'urllib.request', 'http.client'} & set(sys.modules))))"
    done = _ended("serve", "--config", str(file), after=after)
    loaded: Any = json.loads(done.stdout)

    assert done.returncode == 2
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["error:", "error:"]
    assert loaded == []


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_it_ends_as_it_should_where_nobody_can_be_told(tmp_path: Path, closed: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("server: {port: 99999}\n")
    program = f'exec "$0" -m proxy serve --config "$1" {closed}'
    done = subprocess.run(["sh", "-c", program, sys.executable, str(file)], check=False)

    assert done.returncode == 2


@pytest.mark.parametrize(
    ("name", "module"),
    [("serve", "proxy.config.problems"), ("serve", "proxy.serve.supervisor"), ("spend", "proxy.cli.main")],
)
def test_an_interrupt_while_it_starts_is_its_exit_code(name: str, module: str) -> None:
    code = (
        "import sys\nclass Interrupted:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted)\nfrom proxy.cli.start import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "")


def test_an_interrupt_that_an_import_swallows_ends_it_all_the_same() -> None:
    """Compiled modules do: what goes on then has half of one, and each of its processes would be killed by signal 11."""
    code = (
        "import os, signal, sys\nclass Swallowed:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n"
        "        if name == 'proxy.serve.supervisor':\n            try:\n                os.kill(os.getpid(), signal.SIGINT)\n"
        "                for _ in range(9): pass\n            except KeyboardInterrupt:\n                pass\n"
        "sys.meta_path.insert(0, Swallowed)\nfrom proxy.cli.start import main\nmain()\nprint('goes on')"
    )
    program = [sys.executable, "-c", code, "serve", "--config", "nowhere.yaml"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_that_is_what_the_library_makes_of_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    monkeypatch.setattr(command.log, "set_up", lambda: None)
    done = CliRunner().invoke(app, ["serve"])

    assert (done.exit_code, done.output) == (130, "")


def test_a_mistake_is_told_by_the_library() -> None:
    done = _ended("serve", "--workers", "65")

    assert done.returncode == 2
    assert "--workers" in done.stderr
    assert "Usage" in done.stderr
