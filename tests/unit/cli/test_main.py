"""The command line as a whole: every command of its table is there, and none costs anything until it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from proxy.cli.main import COMMANDS, app
from proxy.processes.code import python_build, running_code
from tests.support.commands import commands
from tests.support.rows import each_row


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"])

    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.output.split("Commands:\n")[1].splitlines() if line[2:3].strip()] == list(
        COMMANDS
    )


@each_row("command", COMMANDS)
def test_every_command_has_its_help(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])

    assert shown.exit_code == 0
    assert f" {command} " in shown.output.splitlines()[0]


def test_every_command_takes_a_configuration() -> None:
    known = commands()
    groups = {path.rpartition(" ")[0] for path in known}

    assert [path for path, options in known.items() if path not in groups and "--config" not in options] == []


def test_the_version_is_the_package_s_with_what_runs_it() -> None:
    shown = CliRunner().invoke(app, ["--version"])

    assert (shown.exit_code, shown.output) == (
        0,
        f"taximeter {version('taximeter')} ({running_code()}, {python_build()})\n",
    )


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(app, ["spends"]).exit_code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_loads_none_of_what_commands_need(arguments: list[str]) -> None:
    """0.1 s of CPU, where the database and its schema, the checks of a configuration and boxes came to 1.8 s."""
    code = (
        "import json, sys\nfrom proxy.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])

    assert [
        name for name in ("pydantic", "sqlalchemy", "rich.console", "fastapi", "pricing.load") if name in loaded
    ] == []
