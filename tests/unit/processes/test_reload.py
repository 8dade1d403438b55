"""The supervisor's reload: one at a time, the last word counts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config.model import Config
from proxy.config.server import Server
from proxy.processes.orders import InFile
from proxy.serve.supervisor import Supervisor


def test_a_signal_during_a_reload_has_its_reload_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once would write into each other's message."""
    supervisor = Supervisor(Config(), Path("config.yaml"), None)
    first, second = (Config(server=Server(budget_status=status)) for status in (402, 429))
    versions = iter([first, second])
    monkeypatch.setattr("proxy.serve.supervisor.load_apart", lambda *_: (next(versions), [], False))
    sent: list[str] = []

    class Orders:
        def send(self, config: Any) -> None:
            name = "first" if config.server.budget_status == 402 else "second"
            sent.append(f"{name} begins")
            if name == "first":
                supervisor._on_reload()  # the signal, in the middle of the system call
            sent.append(f"{name} ends")

    supervisor._children = [
        SimpleNamespace(name="data-0", pid=1, orders=Orders()), SimpleNamespace(name="data-1", pid=0, orders=None),
    ]  # fmt: skip
    supervisor._on_reload()

    assert sent == ["first begins", "first ends", "second begins", "second ends"]
    assert supervisor.config.server.budget_status == 429


def test_the_control_process_alone_is_told_what_of_the_file_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "taximeter.yaml"
    supervisor = Supervisor(Config(), file, None)
    told: dict[str, list[Any]] = {"control": [], "data-0": []}
    supervisor._children = [
        SimpleNamespace(name=name, pid=1, orders=SimpleNamespace(send=orders.append)) for name, orders in told.items()
    ]
    file.write_text("server: {prot: 1}")
    supervisor._on_reload()
    refused = InFile(refused=("server.prot (line 1): is not a setting; did you mean port?",))
    assert (told, supervisor.in_file) == ({"control": [refused], "data-0": []}, refused)

    file.write_text("server: {port: 4200}\nupstreams: {a: {base_url: 'http://h/v1'}}\nmodels: {'*': {upstream: a}}")
    supervisor._on_reload()
    assert told["control"][-1] == supervisor.in_file == InFile(restart=("server.port",))
    assert [type(order) for order in told["data-0"]] == [Config]
