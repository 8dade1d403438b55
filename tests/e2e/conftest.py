"""What holds for every test against running servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest


@pytest.fixture(autouse=True)
def close_clients() -> Iterator[None]:
    """The connections of SDKs that a test makes end with it; else the one that runs when they are collected is told of them.

    That hides nothing of the product's: its own clients are in processes of their own here.
    """
    opened: list[httpx.Client] = []
    make = httpx.Client.__init__

    def noted(client: httpx.Client, *arguments: Any, **settings: Any) -> None:
        make(client, *arguments, **settings)
        opened.append(client)

    httpx.Client.__init__ = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        httpx.Client.__init__ = make  # type: ignore[method-assign]
        for client in opened:
            client.close()
