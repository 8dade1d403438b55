"""A reload of a file that has a fault: whoever runs it is told where they look, and not in the log alone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.waiting import wait_until

CONFIG: dict[str, Any] = {
    "upstreams": {"up": {"base_url": "http://127.0.0.1:1/v1", "provider": "p"}},
    "models": {"m": {"upstream": "up"}},
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    places = {"ledger": f"sqlite:///{tmp_path / 'ledger.db'}", "data_dir": str(tmp_path / "data")}
    with gateway(tmp_path, {"server": server()} | CONFIG | places) as made:
        yield made


def seen(running: Gateway, path: str) -> str:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    return httpx.get(running.admin_url + path, headers=headers, timeout=20).text


def reload(running: Gateway, **changes: Any) -> None:
    running.config_file.write_text(yaml.safe_dump(yaml.safe_load(running.config_file.read_text()) | changes))
    os.kill(int((running.spool.parent / "lock").read_text()), signal.SIGHUP)


def taken(running: Gateway) -> str:
    found = re.search(r"^taximeter_config_last_reload_successful (\d)$", seen(running, "/metrics"), re.MULTILINE)
    return found[1] if found else ""


def test_a_reload_that_is_refused_is_told_until_the_file_is_mended(running: Gateway) -> None:
    """It stood in the log, and everything else said that all was well."""
    assert taken(running) == "1"
    reload(running, models={"m": {"upstream": "upp"}})
    wait_until("the metric tells", lambda: taken(running) == "0")
    assert "did you mean up?" in seen(running, "/health")

    control = next(
        pid for pid in running.members() if Path(f"/proc/{pid}/comm").read_text().startswith("taximeter-contr")
    )
    running.kill([control])
    wait_until(
        "the next control process knows it, too", lambda: control not in running.members() and taken(running) == "0", 60
    )

    reload(running, models=CONFIG["models"])
    wait_until("it is mended", lambda: taken(running) == "1")
    assert "as in its file when it was last read" in seen(running, "/health")


def test_what_waits_for_a_new_start_is_told(running: Gateway) -> None:
    reload(running, spool={"max_mb": 99})
    wait_until("it is told", lambda: "read at the start only: spool.max_mb" in seen(running, "/health"))
    assert taken(running) == "1"
