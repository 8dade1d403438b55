"""What is said at the start and at a reload, before anything is served."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.config.problems import ConfigError
from proxy.serve import start
from proxy.serve.data_dir import check_ledger_folder, lock_data_dir, make_data_dir


@pytest.mark.parametrize("path", ["/proc/none/x.db", "/proc/x/y/z.db", "/etc"])
def test_a_ledger_that_cannot_be_written_is_refused(path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_ledger_folder(f"sqlite:///{path}")

    assert str(refused.value).startswith("ledger: ")


def test_a_ledger_that_can_be_made_is_not(tmp_path: Path) -> None:
    check_ledger_folder(f"sqlite:///{tmp_path}/new/ledger.db")
    check_ledger_folder("postgresql://u:p@nowhere/x")


def test_a_ledger_whose_folder_takes_no_files_is_refused_though_it_can_be_written_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite keeps its log beside it: it was waited for, for ever."""
    (tmp_path / "ledger.db").touch()
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    with pytest.raises(ConfigError) as refused:
        check_ledger_folder(f"sqlite:///{tmp_path}/ledger.db")

    assert str(refused.value).startswith(f"ledger: {tmp_path} cannot be written, and SQLite keeps files there: give ")


def test_a_data_folder_that_cannot_be_made_is_one_sentence() -> None:
    with pytest.raises(ConfigError) as refused:
        make_data_dir(Path("/proc/foo"))

    assert str(refused.value).startswith("data_dir: /proc/foo cannot be made: ")


def test_who_stands_by_holds_the_folder_that_the_file_names_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, first, second = tmp_path / "c.yaml", tmp_path / "first", tmp_path / "second"
    file.write_text(f"data_dir: {first}\n")
    waited: list[Path] = []

    def lock(path: Path, *, wait: bool) -> int:
        """While it waits for the first, somebody changes the file."""
        waited.append(path)
        file.write_text(f"data_dir: {second}\n")
        return lock_data_dir(path, wait=wait)

    monkeypatch.setattr(start, "lock_data_dir", lock)
    loaded, held = start._locked(file, wait=True)
    assert waited == [first, second]
    assert loaded.config.data_dir == str(second)
    os.close(lock_data_dir(first))
    with pytest.raises(ConfigError):
        lock_data_dir(second, patience_s=0)
    os.close(held)


def test_who_starts_behind_a_kill_waits_for_what_is_still_ending(tmp_path: Path) -> None:
    held = lock_data_dir(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        starting = pool.submit(lock_data_dir, tmp_path, patience_s=30)
        os.close(held)
        os.close(starting.result())
    assert time.monotonic() - began < 20

    held = lock_data_dir(tmp_path)
    with pytest.raises(ConfigError, match="in use by another running instance"):
        lock_data_dir(tmp_path, patience_s=0.1)
    os.close(held)
