"""The supervisor's reload: one at a time, the last word counts."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config.model import Config
from proxy.config.server import Server
from proxy.processes.orders import InFile
from proxy.serve.reading_apart import load_apart
from proxy.serve.supervisor import Supervisor


def test_a_signal_during_a_reload_has_its_reload_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once would write into each other's message."""
    supervisor = Supervisor(Config(), Path("config.yaml"), None)
    first, second = (Config(server=Server(budget_status=status)) for status in (402, 429))
    versions = iter([first, second])
    monkeypatch.setattr("proxy.serve.supervisor.load_apart", lambda *_, **__: (next(versions), [], False))
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


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        (KeyError("sk-a-secret"), "the configuration cannot be read, by a fault of Taximeter (KeyError)"),
        (
            ModuleNotFoundError("No module named 'yaml'", name="yaml"),
            "the package yaml is not installed: run `make install`",
        ),
    ],
    ids=["a fault of ours", "a package that is gone"],
)
def test_no_fault_of_a_reload_ends_what_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception, refused: str
) -> None:
    def load(*_: object, **__: object) -> None:
        fault.add_note("File checks.py, line 1")
        raise fault

    monkeypatch.setattr("proxy.serve.supervisor.load_apart", load)
    running = Config()
    supervisor = Supervisor(running, Path("config.yaml"), None)
    supervisor._on_reload()

    assert supervisor.config is running
    assert [why.startswith(refused) for why in supervisor.in_file.refused] == [True]
    assert "the new configuration is not taken, the old one stays" in caplog.text
    assert ("File checks.py, line 1" in caplog.text) == isinstance(fault, KeyError)
    assert "sk-a-secret" not in caplog.text


@pytest.mark.parametrize("rest", ["", "server: {port: 4200}\n"], ids=["empty", "cut off"])
def test_a_file_that_is_just_being_written_takes_no_upstream_away(tmp_path: Path, rest: str) -> None:
    """A file that is emptied before it is written anew says nothing, which is a whole configuration at a start."""
    file = tmp_path / "taximeter.yaml"
    file.write_text("upstreams: {a: {base_url: 'http://h/v1'}}\nmodels: {'*': {upstream: a}}")
    running = load_apart(file, {}).config
    supervisor = Supervisor(running, file, None)
    file.write_text(rest)
    supervisor._on_reload()

    assert supervisor.config is running
    assert supervisor.in_file.refused == (
        "upstreams: are all gone from the file, as while it is being written; start Taximeter again where it is meant",
    )


def test_a_file_that_never_named_an_upstream_is_reloaded(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_text("server: {budget_status: 429}")
    supervisor = Supervisor(Config(), file, None)
    supervisor._on_reload()

    assert (supervisor.config.server.budget_status, supervisor.in_file.refused) == (429, ())


def test_a_stop_ends_a_reading_that_does_not_end(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    os.mkfifo(file)
    supervisor = Supervisor(Config(), file, None)
    supervisor._stopping = True
    supervisor._on_reload()

    assert "still being read when the stop came" in supervisor.in_file.refused[0]


def test_a_process_that_begins_anew_with_another_version_s_files_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    begun: list[str] = []
    supervisor = Supervisor(Config(), None, None)
    monkeypatch.setattr(supervisor, "_fork", lambda child: begun.append(child.name))
    child: Any = SimpleNamespace(name="data-0", started_at=-10.0)
    supervisor._restart(child, 9)
    assert "another version" not in caplog.text

    monkeypatch.setattr("proxy.processes.installed._COMPARED", tmp_path)
    supervisor._restart(child, 9)
    assert "another version of Taximeter has been installed since this one was started; start it again." in caplog.text
    assert begun == ["data-0", "data-0"]
