"""What an audit found: the first thing that does not add up."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    """Where something does not add up, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Differs(Exception):  # noqa: N818 - what was found, not a failure of the search
    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.difference = Difference(where, what)
