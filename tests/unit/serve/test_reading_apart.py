"""The configuration is read in a process of its own: what comes of it here, and what does not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.config.checks import load_config
from proxy.config.problems import ConfigError
from proxy.serve.reading_apart import in_a_fork, load_apart

_ALL = """
server: {port: 4200, admin_key: "${ADMIN_KEY}", drain_timeout_s: 5}
upstreams: {up: {base_url: "https://up.test/v1", api_key: sk-up, headers: {x-a: b}}}
models: {m: {upstream: up, answers: []}, "*": {upstream: up}}
prices: [{provider: up, model: m, input: "0.5", output: "1.5"}]
keys: [{name: k, key: sk-long-enough-to-hold, labels: {plan: pro}, expires: 2030-01-31}]
budgets: [{name: all, limit_usd: 5, window: total, opening: {usd: 1, at: 2026-11-01}}, {name: b, limit_usd: 0.1, window: day, per: [key], overrides: {k: 2}}]
plans: [{name: pro, usd_per_month: 20, from: 2026-11-01}]
guards: {loop: {repeats: 3, within_s: 60}}
capacity: [{name: gpus, upstreams: up, usd_per_hour: 2.5, power: {watts: 700}, units: [{from: 2026-11-01, units: 2}]}]
exports: [{type: file, path: out}]
on_unpriced: {input: 15, output: "75"}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "taximeter.yaml"
    file.write_text(text)
    return file


def test_what_is_read_apart_is_what_is_read_here(tmp_path: Path) -> None:
    file, environ = written(tmp_path, _ALL), {"ADMIN_KEY": "an-admin-key-long-enough"}

    loaded = load_apart(file, environ)

    assert loaded == load_config(file, environ)
    assert loaded.config.server.admin_key == "an-admin-key-long-enough"


def test_all_that_is_wrong_is_told_here(tmp_path: Path) -> None:
    file = written(tmp_path, "server: {port: no}\nlog: {sample: 2}\n")

    with pytest.raises(ConfigError) as told:
        load_apart(file, {})

    assert [(problem.path, problem.line) for problem in told.value.problems] == [("server.port", 1), ("log.sample", 2)]
    assert str(told.value) == "\n".join(map(str, told.value.problems))


def test_this_process_does_without_what_reads(tmp_path: Path) -> None:
    """Nor does what was read bring it along."""
    code = """
import sys
from pathlib import Path
from proxy.serve.reading_apart import load_apart
from proxy.serve.supervisor import import_what_is_shared
config = load_apart(Path(sys.argv[1]), {"ADMIN_KEY": "an-admin-key-long-enough"}, meanwhile=import_what_is_shared).config
print(config.budgets[1].limit_usd, *(name for name in ("pydantic", "yaml", "proxy.config.checks") if name in sys.modules))
"""
    told = subprocess.check_output([sys.executable, "-c", code, written(tmp_path, _ALL)], text=True)

    assert told == "0.1\n"


def test_both_go_on_at_once() -> None:
    """Else neither would come to an end."""
    (their_reader, our_writer), (our_reader, their_writer) = os.pipe(), os.pipe()

    def work() -> bytes:
        os.write(their_writer, b"from there")
        return os.read(their_reader, 99)

    def meanwhile() -> None:
        assert os.read(our_reader, 99) == b"from there"
        os.write(our_writer, b"from here")

    assert in_a_fork(work, meanwhile) == b"from here"
    for end in (their_reader, our_writer, our_reader, their_writer):
        os.close(end)


def _fails() -> None:
    raise ModuleNotFoundError("No module named 'yaml'", name="yaml")


def test_a_fault_there_is_raised_here_and_says_where_it_was() -> None:
    with pytest.raises(ModuleNotFoundError) as fault:
        in_a_fork(_fails, list)

    assert fault.value.name == "yaml"
    assert "in _fails" in "".join(fault.value.__notes__)


def _told_of(work: Callable[[], object], **more: Any) -> str:
    with pytest.raises(ConfigError) as told:
        in_a_fork(work, list, **more)
    return str(told.value)


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda: os._exit(0), "exit code 0"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "signal 15"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "by the kernel where memory ran out"),
        (lambda: lambda: None, "exit code 1"),
    ],
    ids=["exit", "signal", "killed", "no answer that could be sent"],
)
def test_an_end_without_an_answer_is_told(work: Callable[[], object], why: str) -> None:
    """No signal is heard there as here, where it would stop everything."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        told = _told_of(work)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "the process that reads it ended before it had" in told
    assert why in told
    assert heard == []


def _out_of_memory() -> None:
    raise MemoryError


def test_memory_that_ran_out_there_is_told() -> None:
    assert _told_of(_out_of_memory).endswith("memory ran out meanwhile; free some, or raise its limit")


@pytest.mark.parametrize(
    ("place", "error"),
    [("os.fork", errno.EAGAIN), ("proxy.serve.reading_apart.Pipe", errno.EMFILE)],
    ids=["no process", "no file"],
)
def test_without_another_process_that_is_told_and_signals_are_heard_as_before(
    monkeypatch: pytest.MonkeyPatch, place: str, error: int
) -> None:
    def refused(**_: object) -> None:
        raise OSError(error, os.strerror(error))

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(place, refused)
    told = _told_of(list)

    assert f"no process can be begun that reads it ({os.strerror(error)}); free memory, or raise `ulimit" in told
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_file_that_never_ends_is_waited_for_until_nobody_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.serve.reading_apart._LOOK_S", 0.001)
    os.mkfifo(tmp_path / "secret")  # nobody writes into it
    file = written(tmp_path, "alerts: {webhook: '${file:secret}'}")
    looks = iter([False, False, True])
    fork = os.fork
    forked: list[int] = []

    def noted() -> int:
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr(os, "fork", noted)
    with pytest.raises(ConfigError, match="still being read when the stop came"):
        load_apart(file, {}, is_over=lambda: next(looks))

    with pytest.raises(ChildProcessError):
        os.waitpid(forked[0], os.WNOHANG)


@pytest.mark.parametrize("text", ["log: {sample: 1}", "log: {sample: 2}"], ids=["right", "wrong"])
def test_by_the_rules_of_another_version_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Half of them would be the new ones, and the values those of before."""
    rules = tmp_path / "config"
    rules.mkdir()
    (rules / "checks.py").write_text("")
    monkeypatch.setattr("proxy.processes.installed._COMPARED", rules)

    with pytest.raises(ConfigError) as told:
        load_apart(written(tmp_path, text), {})

    assert str(told.value).startswith("another version of Taximeter has been installed since this one was started")
