"""A list of authorities that is renewed is taken; one that is gone, empty or half written does not replace one that is whole."""

from __future__ import annotations

import logging
import shutil
import ssl
import time
from pathlib import Path

import pytest

from proxy.upstream.authorities import Authorities
from tests.support.redis_run import Certificates

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two authorities, and no others."""
    file = tmp_path / "trusted.pem"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Certificates(tmp_path / name)
    file.write_text("".join((tmp_path / name / "ca.pem").read_text() for name in ("one", "two")))
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "folder"))
    return file


class Clock:
    ahead_s = 60.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def names(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509_ca"]


@pytest.mark.parametrize("trouble", ["gone", "empty", "a folder", "broken"])
def test_a_list_that_names_nobody_takes_the_place_of_none(
    trouble: str, trusted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authorities, whole = Authorities(Clock()), trusted.read_text()
    before = authorities.context()
    assert names(before) == 2
    trusted.unlink()
    if trouble == "a folder":
        trusted.mkdir()
    elif trouble != "gone":
        trusted.write_text("" if trouble == "empty" else whole[:100])
    with caplog.at_level(logging.WARNING):
        assert [authorities.context(), authorities.context()] == [before, before]
    assert len(caplog.records) == 1
    if trouble == "a folder":
        trusted.rmdir()
    trusted.write_text(whole)
    assert authorities.context() is not before
    assert names(authorities.context()) == 2


def test_a_list_that_is_being_written_is_waited_for(trusted: Path) -> None:
    clock, whole = Clock(), trusted.read_text()
    authorities = Authorities(clock)
    before = authorities.context()
    clock.ahead_s = 0
    trusted.write_text(whole[: len(whole) // 2 + 100])
    assert authorities.context() is before
    trusted.write_text(whole * 2)
    clock.ahead_s = 60
    assert authorities.context() is not before
    assert names(authorities.context()) == 2


def test_where_there_was_no_list_the_first_one_is_taken(trusted: Path, tmp_path: Path) -> None:
    shutil.move(trusted, tmp_path / "aside")
    authorities = Authorities(Clock())
    assert names(authorities.context()) == 0
    shutil.move(tmp_path / "aside", trusted)
    assert names(authorities.context()) == 2


def test_a_list_changed_by_a_clock_that_was_ahead_is_taken(trusted: Path) -> None:
    clock = Clock()
    authorities = Authorities(clock)
    before = authorities.context()
    clock.ahead_s = -3600
    trusted.write_text(trusted.read_text() * 2)
    assert authorities.context() is not before
