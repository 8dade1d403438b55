"""Files that the system gives: fewer connections than are configured are told of, with what to allow."""

from __future__ import annotations

import resource

import pytest

from proxy.processes import descriptors
from proxy.processes.descriptors import A_CALL, connections_at_most, too_few


@pytest.mark.parametrize(("soft", "most"), [(64, 1), (1024, 480), (19_062, 9499)])
def test_too_few_files_are_said_with_what_is_left_and_what_to_allow(
    soft: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with room for one connection said nothing."""
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (soft, soft))
    sentence = too_few(10_000)

    assert sentence is not None
    assert f"may open {soft} files here, so it is {most}; allow 20064 (" in sentence
    assert connections_at_most(10_000, descriptors_each=A_CALL) == most


@pytest.mark.parametrize("soft", [19_064, 20_000, 20_063, 20_064, 65_536, resource.RLIM_INFINITY])
def test_enough_files_are_not_spoken_of(soft: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (soft, soft))
    assert too_few(10_000) is None
