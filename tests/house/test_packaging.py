"""What is shipped: the wheel holds all that the product reads at run time, importing it touches no network, and the
environment that the lock files make runs no code of others at start-up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.house.source import ROOT, product
from tests.house.test_imports import below

# Under pricing/ and proxy/, but only for those who read the repository.
NOT_SHIPPED = (
    "proxy/CONTRACT.md",
    "proxy/DECISIONS.md",
    "proxy/HOLES.md",
    "proxy/THREATS.md",
    "proxy/Dockerfile",
    "proxy/Dockerfile.dockerignore",
)

# A .pth file is code that runs at every start of the interpreter. Each of these is known; another one is looked into.
KNOWN_PTH = {
    "__editable__.taximeter-0.1.0.pth": "this project, installed for development",
    "distutils-precedence.pth": "setuptools",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy, so that nothing is left behind in the working tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("pricing", "proxy", "taximeter"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(tree)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_image_is_given_all_that_it_copies() -> None:
    given = {line[1:] for line in (ROOT / "proxy" / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "proxy" / "Dockerfile").read_text(), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == given


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """Modules, `py.typed`, prices, Lua, page, migrations, schema: whatever lies in the packages is shipped."""
    tracked = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "pricing", "proxy"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    ).stdout.split()  # fmt: skip
    shipped = set(zipfile.ZipFile(wheel).namelist())

    assert [
        name
        for name in tracked
        if f"taximeter/{name}" not in shipped and name not in NOT_SHIPPED and Path(name).name != "README.md"
    ] == []
    assert {"taximeter/pricing/py.typed", "taximeter/proxy/py.typed", "taximeter/command.py"} <= shipped


def test_what_is_served_is_compiled_where_the_wheel_is_installed(wheel: Path, tmp_path: Path) -> None:
    """As in the image: no other `proxy` is on the path."""
    installed, compiled = tmp_path / "installed", tmp_path / "compiled"
    zipfile.ZipFile(wheel).extractall(installed)
    environ = {
        "PYTHONPATH": f"{installed}{os.pathsep}{sysconfig.get_path('purelib')}", "PYTHONPYCACHEPREFIX": str(compiled),
        "PYTHONDONTWRITEBYTECODE": "",
    }  # fmt: skip
    # Without `site`, which would find the clone where it is installed for development.
    program = [sys.executable, "-S", "-P", str(ROOT / "served_bytecode.py")]
    done = subprocess.run(program, env={**os.environ, **environ}, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert list(compiled.rglob("installed/taximeter/proxy/dataplane/process.*.pyc"))


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    """No tests, no tools, no leftovers of a build."""
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"taximeter"}, (
        "nobody else's names: proxy.py has a `proxy`"
    )


def test_the_readme_reads_without_its_repository(wheel: Path) -> None:
    """No pictures that are not there, no links to files that are not; and all the metadata that an index shows."""
    metadata = zipfile.ZipFile(wheel).read("taximeter-0.1.0.dist-info/METADATA").decode()
    head, _, text = metadata.partition("\n\n")

    assert "Description-Content-Type: text/markdown" in head
    for field in ("Author", "License-Expression", "Requires-Python", "Summary", "Keywords", "Classifier"):
        assert f"{field}: " in head
    assert "# Taximeter" in text
    assert "`taximeter serve` does the same" in text, "whoever reads it there has no Makefile"
    assert "<picture" not in text
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", text) == []


def test_the_wheel_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Unpacked far from the repository, the command line answers."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    other = tmp_path / "proxy"  # as PyPI's proxy.py installs it
    other.mkdir()
    (other / "__init__.py").write_text("raise AssertionError('another program was imported')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import taximeter.command as c; import proxy.cli.main as m; print(m.__file__); c.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "taximeter" / "proxy"))
    assert "serve" in done.stdout


def test_importing_touches_no_network_and_leaves_nothing_running() -> None:
    """Every module imports with sockets forbidden, prints nothing and starts no thread."""
    code = (
        "import importlib, socket, sys, threading\n"
        "def refuse(*args, **kwargs): raise AssertionError('a module used the network when it was imported')\n"
        "socket.getaddrinfo = socket.create_connection = socket.socket.connect = socket.socket.bind = refuse\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "assert threading.active_count() == 1, threading.enumerate()"
    )
    # What only runs as a program is no module to import: the entry point and what alembic executes.
    programs = ("proxy.__main__", "proxy.ledger.migrations")
    modules = [source.module for source in product() if not below(source.module, programs)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *modules], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_unknown_runs_at_start_up() -> None:
    """The environment's .pth files are those that we know."""
    found = {file.name for file in Path(sysconfig.get_paths()["purelib"]).glob("*.pth")}

    assert found - set(KNOWN_PTH) == set()


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-build.lock", "requirements-nodeps.lock", "requirements-translate.lock"]
)
def test_lock_files_pin_everything_and_name_no_server(name: str) -> None:
    """Each requirement is one exact version with hashes, and where it comes from is left to whoever installs it."""
    text = (ROOT / name).read_text(encoding="utf-8")
    requirements = [block for block in text.replace("\\\n", "").splitlines() if block and not block.startswith("#")]

    assert requirements
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []
    assert "://" not in text
