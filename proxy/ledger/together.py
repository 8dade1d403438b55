"""Some rows by one INSERT of SQLite's, where a statement costs as much as a row, and to bind values is most of either:
so what the rows have in common is bound once for all of them, and what each says in two columns once for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

TOGETHER = 16
"""Rows of one statement: twice as many gain nothing."""


class Layout(NamedTuple):
    """What is bound for which columns of a table. alike: those that the rows have in common; varied: those in which each has a
    value of its own, and equal: which of these each of them is equal to, the first of all. Those of neither get their
    defaults."""

    alike: tuple[int, ...]
    varied: tuple[int, ...]
    equal: tuple[int, ...]

    @classmethod
    def of(cls, alike: Sequence[int], varied: Sequence[int], columns: Sequence[Sequence[Any]]) -> Layout:
        """columns: those that are `varied`."""
        equal = tuple([columns.index(column) for column in columns])
        return cls(tuple(alike), tuple(varied), equal)

    def insert(self, table: str, names: Sequence[str], conflict: str) -> str:
        """The INSERT of `TOGETHER` rows. names: the table's columns."""
        own = [f"v{at}" for at in sorted({*self.equal})]
        values = ", ".join([f"({', '.join('?' * len(own))})"] * TOGETHER)
        chosen = ", ".join([*(f"v{at}" for at in self.equal), *"?" * len(self.alike)])
        named = ", ".join(names[at] for at in (*self.varied, *self.alike))
        return (
            f"INSERT INTO {table} ({named}) WITH own ({', '.join(own)}) AS (VALUES {values}) "  # noqa: S608 - our own names
            f"SELECT {chosen} FROM own WHERE true {conflict}"
        )

    def bound(self, columns: Sequence[Sequence[Any]], alike: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What is bound for each `TOGETHER` of the rows, whose number it divides. columns: those that are `varied`; alike:
        the values of the others."""
        own = sorted({*self.equal})
        width = len(own)
        values: list[Any] = [None] * (width * len(columns[0]))  # row by row
        for at, number in enumerate(own):
            values[at::width] = columns[number]
        length = TOGETHER * width
        return [(*values[first : first + length], *alike) for first in range(0, len(values), length)]
