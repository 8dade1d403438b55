"""`taximeter serve` in its processes, with a configuration of the test's, on free ports."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import free_port
from tests.support.processes import Marked, RigError, get, taximeter
from tests.support.waiting import TooLateError, wait_until

ADMIN_KEY = "sk-admin-of-the-tests-0123456789"


def server(**changes: Any) -> dict[str, Any]:
    """The configuration's `server`: free ports and the tests' admin key."""
    return {"port": free_port(), "admin_port": free_port(), "admin_key": ADMIN_KEY} | changes


class Gateway(Marked):
    """Start it by `up`; `stop` asks it to end, `kill` and `close` do not ask."""

    def __init__(self, folder: Path, config: dict[str, Any], module: str = "proxy") -> None:
        """module: what is run by `python -m`, with the arguments of `taximeter serve`."""
        super().__init__(folder, "gateway")
        self.module = module
        self.env: dict[str, str] = {}  # for `module`, whatever it is asked
        self.config_file = folder / "taximeter.yaml"
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))
        ports = config["server"]
        self.url = f"http://127.0.0.1:{ports['port']}"
        self.admin_url = f"http://127.0.0.1:{ports['admin_port']}"
        self.ledger: str = config["ledger"]
        self.spool = Path(config["data_dir"]) / "spool"

    def up(self, *options: str, env: Mapping[str, str] | None = None, timeout_s: float = 30) -> float:
        """Start and wait until both planes are ready; the seconds that it took."""
        began = time.monotonic()
        self.start(
            [sys.executable, "-m", self.module, "serve", "--config", str(self.config_file), *options],
            env=self.env | dict(env or {}),
        )
        try:
            wait_until("taximeter serve is ready", self.ready, timeout_s)
        except (RigError, TooLateError) as error:
            raise RigError(f"{error}\n{self.tail()}") from None
        return time.monotonic() - began

    def ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RigError(f"taximeter serve ended with {self.process.returncode}: {self.tail()}")
        if get(f"{self.url}/readyz")[0] != 200 or get(f"{self.admin_url}/readyz")[0] != 200:
            return False
        # The API is made when it is asked: no test's question waits for it.
        return get(f"{self.admin_url}/page/none")[0] == 404

    def verified(self) -> dict[str, Any]:
        """What `taximeter verify` says of the ledger, the spool and the running server's budgets."""
        words = ["verify", "--json", "--config", str(self.config_file)]
        if self.env:
            command = [sys.executable, "-m", self.module, *words]
            env = os.environ | self.env
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)
        else:
            done = taximeter(*words)
        if done.returncode not in (0, 1) or not done.stdout:
            raise RigError(f"verify ended with {done.returncode}\n{done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


@contextlib.contextmanager
def gateway(folder: Path, config: dict[str, Any], *options: str, timeout_s: float = 30) -> Iterator[Gateway]:
    """A running gateway, until the end of the block."""
    made = Gateway(folder, config)
    try:
        made.up(*options, timeout_s=timeout_s)
        yield made
    finally:
        made.close()
