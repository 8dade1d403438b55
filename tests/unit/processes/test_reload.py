"""The supervisor's reload: one at a time, the last word counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config.model import Config
from proxy.config.server import Server
from proxy.serve.supervisor import Supervisor


def test_a_signal_during_a_reload_has_its_reload_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once would write into each other's message."""
    supervisor = Supervisor(Config(), Path("config.yaml"), None)
    first, second = (Config(server=Server(budget_status=status)) for status in (402, 429))
    versions = iter([first, second])
    monkeypatch.setattr("proxy.serve.supervisor.load_config", lambda *_: (next(versions), []))
    sent: list[str] = []

    class Orders:
        def send(self, config: Any) -> None:
            name = "first" if config.server.budget_status == 402 else "second"
            sent.append(f"{name} begins")
            if name == "first":
                supervisor._on_reload()  # the signal, in the middle of the system call
            sent.append(f"{name} ends")

    supervisor._children = [SimpleNamespace(pid=1, orders=Orders()), SimpleNamespace(pid=0, orders=None)]
    supervisor._on_reload()

    assert sent == ["first begins", "first ends", "second begins", "second ends"]
    assert supervisor.config.server.budget_status == 429
