"""What the bench brings along, outside the project: peers' environments, wrk and nginx. Made on demand, used again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

_INSTALL_S = 900


class MissingError(Exception):
    """A tool or peer that cannot be had here; the text says why."""


def home() -> Path:
    """`$TAXIMETER_BENCH_DIR`, else a folder of the user's cache: environments stay between runs."""
    chosen = os.environ.get("TAXIMETER_BENCH_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else cache / "taximeter" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def python() -> str:
    """The interpreter that peers written in Python run on: `$TAXIMETER_BENCH_PYTHON`, else the one that runs the bench."""
    return os.environ.get("TAXIMETER_BENCH_PYTHON") or sys.executable


def choose_python(name: str) -> None:
    """Have peers written in Python run on this interpreter."""
    os.environ["TAXIMETER_BENCH_PYTHON"] = os.path.abspath(shutil.which(name) or name)  # noqa: PTH100 - a link stays the name it is


def python_version() -> str:
    """Of `python()`, with its path. Raises MissingError where it is none."""
    try:
        done = subprocess.run(
            [python(), "-c", "import platform; print(platform.python_version())"],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        raise MissingError(f"{python()} is no Python that runs here") from None
    return f"{done.stdout.strip()} ({python()})"


def _home_of(name: str) -> Path:
    """Where an environment is kept: apart for each interpreter that was named."""
    chosen = os.environ.get("TAXIMETER_BENCH_PYTHON")
    return home() / (f"{name}-on-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}" if chosen else name)


def environment(name: str, requirement: str, program: str) -> Path:
    """The path of `program` in an environment that holds `requirement`. Raises MissingError where it cannot be installed."""
    folder = _home_of(name)
    found = folder / "bin" / program
    if not ((folder / "complete").exists() and found.exists()):
        _install(folder, [requirement], requirement)
        if not found.exists():
            raise MissingError(f"{requirement} has no program {program}")
        (folder / "complete").touch()
    return found


def of_the_project(repository: Path) -> Path:
    """An interpreter that has what the working tree needs: the bench's own, or where another was named, an environment of that,
    with bytecode as `make install` has it. Raises MissingError where it cannot be installed."""
    if python() == sys.executable:
        return Path(sys.executable)
    locks = [repository / "requirements.lock", repository / "requirements-nodeps.lock"]
    bytecode = repository / "served_bytecode.py"
    state = hashlib.sha256(b"".join(file.read_bytes() for file in (*locks, bytecode))).hexdigest()[:8]
    folder = _home_of(f"taximeter-{state}")
    if not (folder / "complete").exists():
        _install(folder, ["--no-deps", *[part for lock in locks for part in ("-r", str(lock))]], "the project")
        paths = f"PYTHONPATH={repository}"
        _run(["env", paths, str(folder / "bin/python"), "-P", str(bytecode)], "the project's bytecode cannot be made")
        (folder / "complete").touch()
    return folder / "bin/python"


def _install(folder: Path, what: list[str], name: str) -> None:
    """A new environment in `folder`. what: as pip is told it."""
    shutil.rmtree(folder, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        into = ["--compile-bytecode", "--python", str(folder / "bin/python")]
        steps = [
            [str(uv), "venv", "--quiet", "--python", python(), str(folder)],
            [str(uv), "pip", "install", "--quiet", *into, *what],
        ]
    else:
        steps = [[python(), "-m", "venv", str(folder)], [str(folder / "bin/pip"), "install", "--quiet", *what]]
    for step in steps:
        _run(step, f"{name} cannot be installed")


def checkout(repository: Path, commit: str) -> Path:
    """A working tree of that commit with what it needs installed. Raises MissingError where it cannot be had."""
    folder = _home_of(f"commit-{commit}")
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = (
        f"git -C {shlex.quote(str(repository))} archive {shlex.quote(commit)} | tar -x -C {shlex.quote(str(folder))}"
    )
    _run(["bash", "-o", "pipefail", "-c", archive], f"commit {commit} cannot be had")
    _run(["make", "-C", str(folder), f"PYTHON={python()}", "install"], f"commit {commit} cannot be installed")
    (folder / "complete").touch()
    return folder


def compiled(repository: Path) -> Path:
    """What the newest wheel with machine code in `dist` has in it. Raises MissingError where there is none."""
    wheels = sorted((repository / "dist").glob("taximeter-*-cp*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    if not wheels:
        raise MissingError("there is no wheel with machine code in dist/: `make compiled` builds it")
    folder = home() / f"compiled-{hashlib.sha256(wheels[-1].read_bytes()).hexdigest()[:8]}"
    if not (folder / "complete").exists():
        shutil.unpack_archive(wheels[-1], folder, "zip")
        (folder / "complete").touch()
    return folder / "taximeter"


def node(name: str, package: str, file: str) -> Path:
    """The path of a file of an npm package, in a folder of its own. Raises MissingError where it cannot be installed."""
    folder = home() / name
    path = folder / "node_modules" / package / file
    if (folder / "complete").exists() and path.exists():
        return path
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise MissingError(f"{package} needs node and npm (Debian: apt-get install npm)")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _run([npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), package], f"{package} cannot be installed")  # fmt: skip
    if not path.exists():
        raise MissingError(f"{package} has no file {file}")
    (folder / "complete").touch()
    return path


def node_version(file: Path) -> str:
    """The version of the npm package that `file` belongs to."""
    for folder in file.parents:
        if (folder / "package.json").exists():
            return str(json.loads((folder / "package.json").read_text())["version"])
    return "unknown"


def version(program: Path, distribution: str) -> str:
    """The version of `distribution` in the environment of `program`."""
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            [str(program.with_name("python")), "-c", code], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
    return "unknown"


def debian(program: str, package: str) -> str | None:
    """The path of a system program; on Debian as root its package is installed first. None where it cannot be had."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(program, path=path)
    if found or os.geteuid() != 0 or not shutil.which("apt-get"):
        return found
    with contextlib.suppress(MissingError):
        _run(["apt-get", "update", "-qq"], "apt-get update")
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], package)
    return shutil.which(program, path=path)


def _run(command: list[str], what: str) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "").strip().splitlines()
        raise MissingError(f"{what}: {last[-1] if last else f'exit code {error.returncode}'}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{what}: {error}") from None
