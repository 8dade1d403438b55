"""`exports`: what one row says beside another."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.checks import build
from proxy.config.file import Expansion
from proxy.config.problems import ConfigError


def problems(*exports: dict[str, Any]) -> dict[str, str]:
    tree = {"upstreams": {"v": {"base_url": "http://h/v1"}}, "exports": list(exports)}
    try:
        build(Expansion(tree, [], []))
    except ConfigError as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize("other", ["/data/out", "/data/out/", "/data/./x/../out"])
def test_two_sinks_do_not_write_the_same_files(other: str) -> None:
    said = problems(
        {"type": "file", "name": "one", "path": "/data/out"}, {"type": "file", "name": "two", "path": other}
    )
    assert list(said) == ["exports[1].path"]
    assert "'one'" in said["exports[1].path"]


def test_a_path_from_here_is_the_same_as_the_whole_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    said = problems({"type": "file", "name": "one", "path": "out"}, {"type": "file", "path": f"{tmp_path}/out"})
    assert list(said) == ["exports[1].path"]


def test_other_folders_are_other_files() -> None:
    assert problems({"type": "file", "name": "one", "path": "/data/out"}, {"type": "file", "path": "/data/out/2"}) == {}
