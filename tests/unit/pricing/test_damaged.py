"""A damaged price book is one sentence: at the start, before anything is forked, and to every command."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from socket import socket

import pytest

from pricing import load
from pricing.damaged import DamagedBookError
from proxy.cli.problems import report_errors
from proxy.config.model import Config
from proxy.serve.supervisor import Supervisor

SENTENCE = "the price book is damaged, install Taximeter again: "
DAMAGES = [
    ("prices.jsonl", None),
    ("prices.jsonl", b"half a li"),
    ("prices.jsonl", b'{"provider":"a","model":"m","prices":{"input":"1"},"sour'),
    ("aliases.toml", None),
    ("aliases.toml", b"= 1"),
    ("aliases.toml", b"providers = 1"),
    ("aliases.toml", b"[[alias]]\nname = 1\n"),
    ("aliases.toml", b"[fallbacks]\na = 1\n"),
    ("multipliers.toml", b"\xff"),
    ("multipliers.toml", b"[[multiplier]]\n"),
    (
        "multipliers.toml",
        b'[[multiplier]]\nprovider = "a"\nmodels = ["m"]\nfactor = "1,5"\nsource = "s"\ngroup = "g"\n',
    ),
    ("schedules.toml", b"peak = 1"),
]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the packaged book, in its place."""
    copied = Path(shutil.copytree(load.DATA, tmp_path / "book"))
    monkeypatch.setattr(load, "DATA", copied)
    load.packaged_book.cache_clear()
    yield copied
    load.packaged_book.cache_clear()


@pytest.mark.parametrize(("file", "content"), DAMAGES)
def test_it_is_one_sentence(book: Path, file: str, content: bytes | None, capsys: pytest.CaptureFixture[str]) -> None:
    if content is None:
        (book / file).unlink()
    else:
        (book / file).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        report_errors(load.packaged_book)

    (line,) = capsys.readouterr().err.splitlines()
    assert (ended.value.code, line.startswith(f"error: {SENTENCE}")) == (2, True)


def test_nothing_is_forked_then(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (book / "prices.jsonl").unlink()
    monkeypatch.setattr("proxy.serve.supervisor.signal.signal", lambda *_: None)
    supervisor = Supervisor(Config(), None, None)
    with socket() as listener:
        supervisor.add("control", lambda _: pytest.fail("something was forked"), listener)

        with pytest.raises(DamagedBookError, match=SENTENCE):
            supervisor.run()


def test_a_line_that_is_cut_off_is_named(book: Path) -> None:
    whole = (book / "prices.jsonl").read_bytes()
    (book / "prices.jsonl").write_bytes(whole[:-20])

    with pytest.raises(DamagedBookError, match=f"line {whole.count(bytes([10]))} is not a complete row"):
        load.load_book()
