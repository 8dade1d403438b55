"""Who can write in the data directory can make up calls: it is taken only where that is nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.config.problems import ConfigError
from proxy.serve import data_dir
from proxy.serve.data_dir import lock_data_dir


def test_a_new_folder_is_ours_alone(tmp_path: Path) -> None:
    os.close(lock_data_dir(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_of_ours_is_closed_to_others(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    os.close(lock_data_dir(tmp_path))
    assert tmp_path.stat().st_mode & 0o022 == 0


def test_a_folder_that_others_own_and_all_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setattr(data_dir.os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="everybody can write"):
        lock_data_dir(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_a_folder_in_which_others_have_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "forged.spool").touch()
    os.chown(tmp_path / "spool" / "forged.spool", 4321, 4321)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match=r"forged\.spool"):
        lock_data_dir(tmp_path)


def test_the_number_of_who_holds_a_folder_stands_in_it(tmp_path: Path) -> None:
    """`kill -HUP $(cat taximeter-data/lock)` is what the documents say; an older and longer number leaves nothing behind."""
    (tmp_path / "lock").write_text("1234567890123\n")
    held = lock_data_dir(tmp_path)
    try:
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(ConfigError, match="in use"):
            lock_data_dir(tmp_path, patience_s=0)
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    finally:
        os.close(held)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    (place / "lock").symlink_to(target)
    with pytest.raises(ConfigError, match="lock"):
        lock_data_dir(place)
    assert not target.exists()
