"""A damaged price book stops the start with one sentence, before anything is forked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricing import load
from proxy.config.file import ConfigError
from proxy.config.model import Config
from proxy.serve.supervisor import Supervisor


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the packaged book, in its place."""
    copied = Path(shutil.copytree(load.DATA, tmp_path / "book"))
    monkeypatch.setattr(load, "DATA", copied)
    load.packaged_book.cache_clear()
    yield copied
    load.packaged_book.cache_clear()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("prices.jsonl", None),
        ("prices.jsonl", b"half a li"),
        ("aliases.toml", b"= 1"),
        ("multipliers.toml", b"\xff"),
        ("multipliers.toml", b"[[multiplier]]\n"),
    ],
)
def test_it_is_one_sentence(book: Path, file: str, content: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if content is None:
        (book / file).unlink()
    else:
        (book / file).write_bytes(content)
    monkeypatch.setattr("proxy.serve.supervisor.signal.signal", lambda *_: None)
    supervisor = Supervisor(Config(), None, None)
    supervisor.add("control", lambda _: pytest.fail("something was forked"))

    with pytest.raises(ConfigError, match="the price book is damaged, install Taximeter again: "):
        supervisor.run()
