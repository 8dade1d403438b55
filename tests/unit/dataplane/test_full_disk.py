"""A data plane that begins on a full disk says so in a sentence that names the folder."""

from __future__ import annotations

import errno
import logging
import socket
from pathlib import Path

import pytest

from proxy.config.model import Config
from proxy.config.problems import ConfigError
from proxy.dataplane import process
from proxy.processes.orders import Orders
from proxy.serve.supervisor import _say_why
from proxy.spool.writer import SpoolUnavailable


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), SpoolUnavailable("ENOSPC: No space left on device")]
)
async def test_a_full_disk_at_the_start_is_one_sentence(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It was a traceback every two seconds."""

    def full(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(process, "SpoolWriter", full)
    with socket.socket() as listener, pytest.raises(ConfigError) as refused:
        await process._DataPlane(Config(data_dir=str(tmp_path)), "data-0", listener, Orders()).serve()
    with caplog.at_level(logging.ERROR):
        assert _say_why("data-0", refused.value) == 1

    (line,) = caplog.records
    assert line.exc_info is None
    assert line.getMessage().startswith(f"data-0: data_dir: {tmp_path} cannot be written: ")
    assert "No space left on device; data planes begin once" in line.getMessage()
