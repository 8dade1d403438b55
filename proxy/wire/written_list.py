"""A list that is written as JSON already, for who writes the object that it stands in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson


class WrittenList:
    """listed: the list. Its JSON is held until the object is written, and no longer: it may be as long as that."""

    __slots__ = ("_json", "listed")

    def __init__(self, listed: list[Any], items: Iterable[bytes]) -> None:
        self.listed = listed
        self._json = b"[%b]" % b",".join(items)

    def taken(self) -> Any:
        """What to write in place of the list."""
        json, self._json = self._json, b""
        return orjson.Fragment(json) if json else self.listed
