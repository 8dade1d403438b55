"""Providers' own exports, read: what they say that was used and charged, a line each. Pure.

What a file is shows in what it has, not in its name: `proxy.reports.reconcile.bills` has the formats.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple, cast

from proxy.reports.reconcile.bills import FORMATS
from proxy.reports.reconcile.bills.format import Asked, Format, flat, plain, plain_name
from proxy.reports.reconcile.stated import Stated
from proxy.times import BadQuestion

_BAD = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, OSError, csv.Error, RecursionError)
_MOST_NAMES = 12


class Statement(NamedTuple):
    """shape: what the file is, for a person. places: decimals of its amounts at most. of: whose bill it is; empty: any
    provider's. is_part: it is of some of what is billed only. repeated: how many rows stand word for word before."""

    shape: str
    lines: Sequence[Stated]
    places: int
    of: tuple[str, ...] = ()
    is_part: bool = False
    repeated: int = 0


class _Table(NamedTuple):
    """names: as they stand in the file. at: where the reading of `rows` is, for a person."""

    names: Sequence[str]
    rows: Iterable[Mapping[str | None, Any]]
    at: Callable[[], str]


def read_statement(text: str, provider: str, zone: tzinfo = UTC) -> Statement:
    """The lines of a provider's file. zone: whose days the times of its lines are dated by. Raises `BadQuestion`."""
    at: Callable[[], str] = str
    try:
        table = _json(text) if text.lstrip()[:1] in ("{", "[") else _csv(text)
        at = table.at
        form = _format_of(table.names)
        repeated = _Repeated()
        counted = repeated.counted(table.rows)
        rows = counted if form.as_written else map(plain, counted)
        stated = list(form.read(rows, Asked(provider, zone)))  # type: ignore[arg-type] # a row too long has a name None
    except BadQuestion:
        raise
    except KeyError as bad:
        raise BadQuestion(f"the file cannot be read{at()}: {bad} is not there") from None
    except _BAD as bad:
        raise BadQuestion(f"the file cannot be read{at()}: {bad or type(bad).__name__}") from None
    if not stated:
        raise BadQuestion(f"the file ({form.name}) has no line with a cost or a usage of {provider}")
    return Statement(
        form.name, stated, max((_places(line.usd) for line in stated), default=0), form.of, form.is_part, repeated.count
    )


class _Repeated:
    """How many rows were there before, by their hashes: exports are put together, and overlap."""

    def __init__(self) -> None:
        self.count = 0

    def counted(self, rows: Iterable[Mapping[str | None, Any]]) -> Iterator[Mapping[str | None, Any]]:
        seen: set[int] = set()
        for row in rows:
            number = hash(repr(row.values()))
            self.count += number in seen
            seen.add(number)
            yield row


def _places(usd: Decimal | None) -> int:
    exponent = 0 if usd is None else usd.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _format_of(names: Sequence[str]) -> Format:
    """Raises `BadQuestion` with what was seen, and what the format that is nearest has besides."""
    if not names:
        raise BadQuestion("the file has no data")
    plainly = {plain_name(name) for name in names}
    lacking = [(form, form.lacks(plainly)) for form in FORMATS]
    if (form := next((form for form, lacks in lacking if not lacks), None)) is not None:
        told_by = {name for column in form.told_by for name in column.split("|")}
        for name, count in Counter(map(plain_name, names)).items():
            if count > 1 and name in told_by:
                raise BadQuestion(f"the file has the column {name} {count} times: which one is meant?")
        return form
    seen = ", ".join(name[:60] for name in names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    form, lacks = min(lacking, key=lambda found: len(found[1]) / len(found[0].told_by))
    near = (
        f"{form.name} would be nearest, and has also {' and '.join(column.replace('|', ' or ') for column in lacks)}"
        if len(lacks) < len(form.told_by)
        else f"known are {'; '.join(form.name for form in FORMATS)}"
    )
    raise BadQuestion(f"the file is none of the exports that are known: it has {seen}; {near}")


def _json(text: str) -> _Table:
    """Pages (`data`) or items, one document or one in each line."""
    pages = _documents(text)
    items = [item for page in pages for item in _items_of(page)]
    if not all(isinstance(item, Mapping) for item in items):
        raise BadQuestion("the file is JSON without objects")
    first: Mapping[str, Any] = next((item for item in items if item), {})
    count = 0

    def rows() -> Iterator[Mapping[str | None, Any]]:
        nonlocal count
        for item in items:
            count += 1
            yield cast(Mapping[str | None, Any], flat(item))

    return _Table(list(flat(first)), rows(), lambda: f" at item {count}" if count else "")


def _items_of(page: Any) -> list[Any]:
    return page["data"] if isinstance(page, Mapping) and isinstance(page.get("data"), list) else [page]


def _documents(text: str) -> list[Any]:
    try:
        body = json.loads(text, parse_float=Decimal)
    except json.JSONDecodeError as bad:
        if bad.msg != "Extra data":
            raise
        return [json.loads(line, parse_float=Decimal) for line in text.splitlines() if line.strip()]
    return body if isinstance(body, list) else [body]


def _csv(text: str) -> _Table:
    """Row by row: a cloud's export has some hundred columns, and few rows that are looked at."""
    text = text.lstrip("\ufeff\r\n")
    head = text.partition("\n")[0]
    between = max(",;\t", key=head.count)  # spreadsheets of half the world write semicolons
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=between)
    return _Table(list(reader.fieldnames or ()), _whole(reader), lambda: f" at line {reader.line_num}")


def _whole(rows: Iterable[dict[str | None, Any]]) -> Iterator[dict[str | None, Any]]:
    """Raises ValueError where a row was cut off, or has more than the head: 1,234.56 without quotes would be 1."""
    for row in rows:
        if None in row.values():
            raise ValueError("the row has fewer columns than the head: was the file cut off?")
        if any(row.get(None) or ()):
            raise ValueError("the row has more columns than the head: quote what has the separator in it")
        yield row
