"""What customers paid: rows of a CSV file, read whole or not at all, and kept so that the same file again changes nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import upsert, writing
from proxy.ledger.schema import revenue
from proxy.money import NANO
from proxy.times import instant

COLUMNS = ("customer", "from", "to", "amount_usd", "plan")
_MOST_USD = 1_000_000_000
_MOST_CHARS = 300


class Paid(NamedTuple):
    """`customer` paid this much (nano-USD; below 0: got back) for [from_at, to_at), epoch microseconds; plan "": not said."""

    customer: str
    from_at: int
    to_at: int
    plan: str
    amount_nanousd: int


class BadRevenue(ValueError):  # noqa: N818 - told to whoever brought the file
    """What is wrong with a file, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_revenue(lines: Iterable[str]) -> list[Paid]:
    """The rows of a CSV text with a header of at least customer, from, to and amount_usd. Raises `BadRevenue` with all that is
    wrong."""
    text = list(lines)
    separator = ";" if text and ";" in text[0] and "," not in text[0] else ","
    reader = csv.DictReader(text, delimiter=separator, strict=True)
    problems: list[str] = []
    paid: dict[tuple[str, int, int, str], tuple[int, Paid]] = {}
    try:
        names = [(name or "").strip().lstrip("\ufeff") for name in reader.fieldnames or ()]
        missing = [name for name in COLUMNS[:4] if name not in names]
        if missing:
            raise BadRevenue([f"line 1: the header lacks {', '.join(missing)}; it is {','.join(COLUMNS)}"])
        reader.fieldnames = names
        for row in reader:
            problems += [f"line {reader.line_num}: {problem}" for problem in _take(row, reader.line_num, paid)]
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if problems:
        raise BadRevenue(problems)
    return [row for _, row in paid.values()]


def _take(
    row: Mapping[str, str | None], line: int, paid: dict[tuple[str, int, int, str], tuple[int, Paid]]
) -> Iterator[str]:
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not any(cells.values()):
        return
    before = len(paid)
    for name in ("customer", "plan"):
        if len(cells[name]) > _MOST_CHARS or "\x00" in cells[name]:
            yield f"{name} is longer than {_MOST_CHARS} characters, or holds a NUL"
            return
    if not cells["customer"]:
        yield "names no customer"
    try:
        from_at, to_at = _moment(cells["from"]), _moment(cells["to"])
        amount = _nanousd(cells["amount_usd"])
    except ValueError as problem:
        yield str(problem)
        return
    if from_at >= to_at:
        yield "`to` is not later than `from`; it is the first moment that is not paid for"
        return
    new = Paid(cells["customer"], from_at, to_at, cells["plan"], amount)
    first, payment = paid.setdefault(new[:4], (line, new))
    if len(paid) == before and (first, payment) != (line, new):
        same = "the same row as" if payment == new else "for the same customer, time and plan as"
        yield f"is {same} line {first}: add their amounts up"


def _moment(text: str) -> int:
    at: datetime = instant(text)
    return int(at.timestamp() * 1_000_000)


def _nanousd(text: str) -> int:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f'amount_usd {text!r} is not an amount, such as "20" or "19.99"') from None
    if not amount.is_finite() or abs(amount) > _MOST_USD:
        raise ValueError(f"amount_usd {text!r} is not an amount up to {_MOST_USD:,} USD")
    nano = amount * NANO
    if nano != nano.to_integral_value():
        raise ValueError(f"amount_usd {text!r} is finer than a nano-dollar")
    return int(nano)


def write_revenue(engine: Engine, rows: Iterable[Paid], now_us: int) -> int:
    """Keep them; a row for the same customer, time and plan replaces the one that is there. How many there were."""
    values = [row._asdict() | {"imported_at": now_us} for row in rows]
    if values:
        with writing(engine).begin() as connection:
            connection.execute(upsert(engine, revenue), values)
    return len(values)


def revenue_in(connection: Connection, since: int, until: int) -> list[Paid]:
    """Every row that has to do with the span."""
    query = sa.select(*[revenue.c[name] for name in Paid._fields]).where(
        revenue.c.from_at < until, revenue.c.to_at > since
    )
    return [Paid(*row) for row in connection.execute(query)]
