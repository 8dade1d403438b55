"""A module that is deferred is imported by whoever first asks it for something, and by nobody before."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.processes.deferred import deferred

FILES = {
    "deferring/__init__.py": "",
    "deferring/rare.py": "import deferring\ndeferring.imported = getattr(deferring, 'imported', 0) + 1\nvalue = 7\n",
    "deferring/whole.py": "import deferring.rare\ndef ask(): return deferring.rare.value\n",
    "deferring/named.py": "from deferring import rare\ndef ask(): return rare.value\n",
    "deferring/at_once.py": "from deferring.rare import value\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("deferring")
    for name in [name for name in sys.modules if name.partition(".")[0] == "deferring"]:
        del sys.modules[name]


def test_it_is_imported_once_when_it_is_first_asked(package: Any) -> None:
    with deferred("deferring.rare"):
        whole, named = (importlib.import_module(f"deferring.{name}") for name in ("whole", "named"))
    assert not hasattr(package, "imported")
    assert "deferring.rare" not in sys.modules

    assert (named.ask(), whole.ask(), named.ask()) == (7, 7, 7)
    assert package.imported == 1
    assert importlib.import_module("deferring.rare") is package.rare
    with pytest.raises(AttributeError, match="nothing"):
        named.rare.nothing  # noqa: B018


def test_who_wants_something_of_it_at_once_has_it(package: Any) -> None:
    with deferred("deferring.rare"):
        assert importlib.import_module("deferring.at_once").value == 7
        assert sys.modules["deferring.rare"] is package.rare
    assert sys.modules["deferring.rare"] is package.rare
    assert package.imported == 1


def test_one_that_is_there_stays(package: Any) -> None:
    there = importlib.import_module("deferring.rare")
    with deferred("deferring.rare"):
        assert importlib.import_module("deferring.rare") is there
    assert sys.modules["deferring.rare"] is there


CONTROL = """
import sys
from proxy.processes.deferred import deferred
with deferred("importlib.metadata"):
    import proxy.control.process
assert not {"importlib.metadata", "email.message", "zipfile"} & set(sys.modules)
import sqlalchemy
from sqlalchemy.util import compat
assert compat.importlib_metadata.version("sqlalchemy") == sqlalchemy.__version__
assert compat.importlib_metadata_get("console_scripts") is not None
"""


def test_the_control_process_begins_without_what_reads_packages_metadata() -> None:
    done = subprocess.run([sys.executable, "-c", CONTROL], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
