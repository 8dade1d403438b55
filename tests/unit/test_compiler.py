"""Whose compiler it is that builds the machine code: only GCC's counts how calls go as the build reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine_code import is_gcc

_GCC = "gcc (GCC) 12.2.0\nCopyright (C) 2022 Free Software Foundation, Inc."
_CLANG = "clang version 16.0.6"
_OF_ITS_OWN = "ccache version 4.8\nunder the GNU General Public License as published by the Free Software Foundation"


def _program(folder: Path, name: str, lines: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def _says(text: str) -> str:
    return f"printf '%s\\n' '{text}'"


@pytest.mark.parametrize(("said", "is_one"), [(_GCC, True), (_CLANG, False)])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_the_compiler_is_asked_itself_behind_whatever_calls_it(
    said: str, is_one: bool, is_wrapped: bool, tmp_path: Path
) -> None:
    compiler = _program(tmp_path, "compiler", _says(said))
    wrapper = _program(tmp_path, "ccache", f'if [ "$1" = --version ]; then {_says(_OF_ITS_OWN)}; else exec "$@"; fi')
    assert is_gcc([*([wrapper] if is_wrapped else []), compiler, "-O2", "-fPIC"]) is is_one


def test_one_that_is_not_there_is_none_and_left_to_the_build_to_tell(tmp_path: Path) -> None:
    assert not is_gcc([str(tmp_path / "none"), "-O2"])
    not_to_be_run = tmp_path / "text"
    not_to_be_run.write_text("")
    assert not is_gcc([str(not_to_be_run)])
