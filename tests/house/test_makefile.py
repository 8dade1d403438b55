"""Which Python `make` uses: the one that is named, or else the one that .venv was made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import ROOT

_NEEDS = ("requirements.lock", "requirements-nodeps.lock", "requirements-build.lock", "pyproject.toml")
_THIS = str(Path(sys.executable).resolve())


@pytest.mark.parametrize(
    ("made_of", "named", "is_made_anew"),
    [
        (_THIS, [f"PYTHON={sys.executable}"], False),
        ("/another/python3.11", [f"PYTHON={sys.executable}"], True),
        ("/another/python3.11", [], False),
        (_THIS, ["PYTHON=/no/python3"], True),
    ],
)
def test_another_python_that_is_named_makes_the_environment_anew(
    made_of: str, named: list[str], is_made_anew: bool, tmp_path: Path
) -> None:
    for name in ("Makefile", *_NEEDS):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").write_text(f"home = /\nversion = 3\nexecutable = {made_of}\ncommand = -\n")
    (tmp_path / ".venv/installed").touch()
    command = ["make", "-C", str(tmp_path), "-n", "install", *named]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ("venv --clear" in done.stdout) is is_made_anew
