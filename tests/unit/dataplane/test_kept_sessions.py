"""Guessed sessions outlive their process, whatever became of their file."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.dataplane.kept_sessions import KeptSessions
from proxy.sessions.chains import Chains
from proxy.sessions.keyed_hash import KeyedHash
from tests.support.calls import call_of

USER = {"role": "user", "content": "confidential"}
BACK = [USER, {"role": "assistant", "content": "hi"}, USER]
ANSWER = [b'["assistant","hi",[],[]]']


def chains(path: Path, most: int = 100) -> Chains:
    return Chains(KeyedHash(b"secret"), most, KeptSessions(path))


def talk(known: Chains, session_id: str, user: str = "k") -> None:
    known.answered(known.conversation(call_of("chat", [USER]), user), ANSWER, session_id)
    known.flush()


def session(known: Chains, user: str = "k") -> str | None:
    return known.session(known.conversation(call_of("chat", BACK), user))


def test_a_conversation_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "data" / "conversations.txt"
    talk(chains(path), "s1")
    assert session(chains(path)) == "s1"
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"confidential" not in path.read_bytes()


@pytest.mark.parametrize("spoil", [b"\xff\xfe\x00", b"0123", b"\n\n", b"x" * 5000 + b"\n", b"00 s\nno line\n"])
def test_what_is_broken_in_the_file_is_passed_over(tmp_path: Path, spoil: bytes) -> None:
    path = tmp_path / "conversations.txt"
    talk(chains(path), "s1")
    path.write_bytes(path.read_bytes() + spoil)
    again = chains(path)
    assert session(again) == "s1"
    talk(again, "s2", "another")
    assert session(chains(path), "another") == "s2"


def test_the_file_is_bounded_and_keeps_the_latest(tmp_path: Path) -> None:
    path = tmp_path / "conversations.txt"
    known = chains(path, most=10)
    for number in range(100):
        talk(known, f"s{number}", f"user {number}")
    assert len(path.read_bytes().splitlines()) <= 23
    again = chains(path, most=10)
    assert [session(again, f"user {number}") for number in (0, 97, 99)] == [None, "s97", "s99"]


def test_lines_are_written_some_at_a_time(tmp_path: Path) -> None:
    kept = KeptSessions(tmp_path / "conversations.txt")
    kept.load(10_000)
    names = [f"{number:032x}" for number in range(1200)]
    for name in names[:3]:
        kept.add([name], "s")
    assert not (tmp_path / "conversations.txt").read_bytes()
    kept.add(names[3:], "s")  # more than are held back
    assert len((tmp_path / "conversations.txt").read_bytes().splitlines()) == 1200
    kept.add(["f" * 32], "t")
    kept.flush()
    kept.flush()
    assert KeptSessions(tmp_path / "conversations.txt").load(10_000)[-1] == ("f" * 32, "t")


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "conversations.txt").mkdir()
    known = chains(tmp_path / "conversations.txt")
    talk(known, "s1")
    assert session(known) == "s1"
