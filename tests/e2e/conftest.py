"""What holds for every test against running servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest

_CLIENTS: tuple[type[Any], ...] = (httpx.Client, httpx2.Client)  # what the SDKs call with, some of them by choice


@pytest.fixture(autouse=True)
def close_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The connections of SDKs that a test makes end with it; else the one that runs when they are collected is told of them.

    That hides nothing of the product's: its own clients are in processes of their own here.
    """
    opened: list[Any] = []
    for kind in _CLIENTS:
        monkeypatch.setattr(kind, "__init__", _noting(kind.__init__, opened))
    yield
    monkeypatch.undo()
    for client in opened:
        client.close()


def _noting(make: Any, opened: list[Any]) -> Any:
    def noted(client: Any, *arguments: Any, **settings: Any) -> None:
        make(client, *arguments, **settings)
        opened.append(client)

    return noted
