"""A table whose rows cost nothing, as one test: pytest takes a millisecond for each test, and thousands of rows take seconds.

`@each_row` stands where `@pytest.mark.parametrize` would, with the same arguments. All rows are run, and those that fail are named,
each with its error. `pytest FILE --rows` makes each row a test of its own, to be chosen with `-k`. It is for rows that share
nothing: what fixtures make is made once for all of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

# Set by `--rows`, before the first test is imported.
apart = False
SHOWN = 5


def each_row(
    names: str | Sequence[str], table: Iterable[Any], ids: Callable[[Any], Any] | Sequence[str] | None = None
) -> Callable[[Callable[..., None]], Any]:
    """The decorated test for every row of `table`. names, ids: as in `pytest.mark.parametrize`."""
    made = list(table)
    if apart:
        return pytest.mark.parametrize(names, made, ids=ids)
    columns = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    values = [(row,) for row in made] if isinstance(names, str) and len(columns) == 1 else [tuple(row) for row in made]

    def decorated(test: Callable[..., None]) -> Callable[..., None]:
        assert values, "a table without rows tests nothing"

        def of_all(**fixtures: Any) -> None:
            failed: dict[str, BaseException] = {}
            for number, row in enumerate(values):
                try:
                    test(**dict(zip(columns, row, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    failed[_name(number, row, ids)] = error
            if failed:
                raise _together(failed, len(values))

        signature = inspect.signature(test)
        others = [given for name, given in signature.parameters.items() if name not in columns]
        functools.update_wrapper(of_all, test)
        of_all.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return of_all

    return decorated


def _name(number: int, row: tuple[Any, ...], ids: Callable[[Any], Any] | Sequence[str] | None) -> str:
    if ids and not callable(ids):
        return f"{number} {ids[number]}"
    return f"{number} " + "-".join(str(ids(value) if ids else value)[:100] for value in row)


def _together(failed: dict[str, BaseException], of: int) -> BaseExceptionGroup[BaseException]:
    for name, error in failed.items():
        error.add_note(f"in row {name}")
    return BaseExceptionGroup(f"{len(failed)} of {of} rows: {'; '.join(failed)}", list(failed.values())[:SHOWN])
