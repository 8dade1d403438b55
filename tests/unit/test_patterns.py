"""Expressions that are compiled when they are first used are those that they stand for."""

from __future__ import annotations

import re

import pytest

from proxy import patterns
from proxy.patterns import compiled_later


def later(*made_of: object) -> re.Pattern[str]:
    with compiled_later():
        return re.compile(*made_of)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is compiled meanwhile."""
    seen: list[object] = []

    def compile_seen(pattern: str, flags: int = 0) -> re.Pattern[str]:
        seen.append(pattern)
        return re.compile(pattern, flags)

    monkeypatch.setattr(patterns, "_compile", compile_seen)
    return seen


def test_it_is_compiled_once_and_when_it_is_used(compiled: list[object]) -> None:
    digits = later("[0-9]+")
    assert not compiled
    assert [digits.sub("n", text) for text in ("a1", "22")] == ["an", "n"]
    assert digits.search("a7")
    assert compiled == ["[0-9]+"]


def test_it_has_all_that_a_compiled_one_has() -> None:
    made_of = r"(?P<a>x)|y", re.IGNORECASE
    meant = re.compile(*made_of)
    names = [name for name in dir(meant) if not name.startswith("_")]
    values = [name for name in names if not callable(getattr(meant, name))]

    assert [getattr(later(*made_of), name) for name in values] == [getattr(meant, name) for name in values]
    assert all(callable(getattr(later(*made_of), name)) for name in set(names) - set(values))
    with pytest.raises(AttributeError):
        later(*made_of).nothing  # type: ignore[attr-defined] # noqa: B018


def test_behind_an_import_that_fails_all_is_as_it_was() -> None:
    compile_at_once = re.compile
    with pytest.raises(ZeroDivisionError), compiled_later():
        raise ZeroDivisionError
    assert re.compile is compile_at_once
    assert isinstance(re.compile("x"), re.Pattern)
