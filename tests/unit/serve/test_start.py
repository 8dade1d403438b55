"""What is said at the start and at a reload, before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.file import ConfigError
from proxy.config.model import Config
from proxy.serve.data_dir import check_ledger_folder, make_data_dir
from proxy.serve.supervisor import needs_restart


@pytest.mark.parametrize("path", ["/proc/none/x.db", "/proc/x/y/z.db", "/etc"])
def test_a_ledger_that_cannot_be_written_is_refused(path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_ledger_folder(f"sqlite:///{path}")

    assert str(refused.value).startswith("ledger: ")


def test_a_ledger_that_can_be_made_is_not(tmp_path: Path) -> None:
    check_ledger_folder(f"sqlite:///{tmp_path}/new/ledger.db")
    check_ledger_folder("postgresql://u:p@nowhere/x")


def test_a_data_folder_that_cannot_be_made_is_one_sentence() -> None:
    with pytest.raises(ConfigError) as refused:
        make_data_dir(Path("/proc/foo"))

    assert str(refused.value).startswith("data_dir: /proc/foo cannot be made: ")


def test_a_reload_names_what_only_a_start_brings() -> None:
    old = Config()
    new = Config.model_validate({"server": {"port": 4860, "max_body_mb": 5}, "ledger": "sqlite:///other.db"})

    assert needs_restart(old, new) == ["ledger", "server.port"]
    assert needs_restart(old, old) == []
