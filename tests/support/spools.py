"""Spools that tests open and leave: each has two files and a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from proxy.spool.writer import SpoolWriter


@contextlib.contextmanager
def spools_closed() -> Iterator[None]:
    """What is opened in the block and left open is closed at its end."""
    opened: list[SpoolWriter] = []
    open_spool = SpoolWriter.__init__

    def noted(writer: SpoolWriter, *arguments: Any, **settings: Any) -> None:
        open_spool(writer, *arguments, **settings)
        opened.append(writer)

    SpoolWriter.__init__ = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        SpoolWriter.__init__ = open_spool  # type: ignore[method-assign]
        for writer in opened:
            if not writer._closed:
                writer.close()
