"""The ledger as FOCUS cost and usage: a charge for each day (UTC), owner, model and unit, from the entries' cost lines.

What an entry cost is dealt out to its lines by largest remainder, so that BilledCost adds up to the ledger to the nano-dollar,
while ListCost and ContractedCost are the exact product of unit price and quantity. What has no unit price (a ceiling, a
provider's own sum, a correction, a share of a machine) is a charge without a SkuPriceId, and carries its tokens beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pricing.units import TOKENS
from pricing.values import slotted
from proxy.ledger.capacity_schema import capacity_minutes
from proxy.ledger.database import reading
from proxy.ledger.rollups.writing import pages
from proxy.ledger.schema import NOT_COUNTED, TOKEN_COLUMNS, entries
from proxy.money import NANO
from proxy.reports.apportion import to_whole
from proxy.times import DAY_US

_COLUMNS = tuple(
    entries.c[name]
    for name in (
        "id", "kind", "started_at", "status", "upstream", "provider", "model", "model_requested", "service_tier", "key", "team",
        "user", "customer", "labels", *TOKEN_COLUMNS.values(), "usage", "cost_nanousd", "cost_source", "cost_lines", "capacity",
        "capacity_nanousd",
    )
)  # fmt: skip


class Owner(NamedTuple):
    """Whose calls these are: the provider's account (our upstream's name), who asked, and for whom."""

    upstream: str | None
    key: str | None
    team: str | None
    consumer: str | None
    tags: tuple[tuple[str, str], ...] = ()


class Kind(NamedTuple):
    """What is charged. source: price, provider, ceiling, unpriced, correction, capacity, idle or outside. unit, price, per:
    where the charge is a quantity at a unit price. model: of a machine's charges, its capacity's name."""

    day_at: int
    source: str
    provider: str | None
    model: str | None
    tier: str | None
    owner: Owner
    unit: str | None = None
    price: Decimal | None = None
    per: int = 1


@slotted
class Amount:
    """nanousd: as the ledger has it. quantity: of the unit. tokens: of a charge without a unit price."""

    nanousd: int = 0
    quantity: Decimal = Decimal(0)
    tokens: int = 0


class _Line(NamedTuple):
    unit: str
    model: str | None
    quantity: Decimal
    price: Decimal
    per: int
    cost: Decimal


Charges = dict[Kind, Amount]


def utc_day(at_us: int) -> int:
    return at_us - at_us % DAY_US


def charges(
    engine: Engine, since: int, until: int, tags: Sequence[str] = (), day_of: Callable[[int], int] = utc_day
) -> Charges:
    """Of all entries that began in [since, until). tags: labels that tell charges apart too. day_of: where the day of an
    instant begins; idle machines go by days of UTC."""
    with reading(engine).connect() as connection:
        return _charges(connection, since, until, tags, day_of)


def daily_charges(
    engine: Engine, since: int, until: int, tags: Sequence[str] = (), day_of: Callable[[int], int] = utc_day
) -> Iterator[Charges]:
    """The same, a day (UTC) at a time, of one state of the ledger: in the memory that a day needs. Where days begin elsewhere
    (`day_of`), a kind may be in two of them."""
    with reading(engine).connect() as connection:
        for day_at in range(utc_day(since), until, DAY_US):
            yield _charges(connection, max(since, day_at), min(until, day_at + DAY_US), tags, day_of)


def _charges(
    connection: Connection, since: int, until: int, tags: Sequence[str], day_of: Callable[[int], int]
) -> Charges:
    charges: Charges = {}
    amounts: dict[tuple[Any, ...], Amount] = {}  # by what a line says: what it is added to
    for row in _entries(connection, since, until):
        day_at = day_of(row["started_at"])
        if (lines := _plain_lines(row)) is not None:
            day_and_facts = (day_at, *_SAID(row), row["labels"] if tags else None)
            for line, nanousd, whole in lines:
                amount = amounts.get((day_and_facts, line))
                if amount is None:
                    kind = _kind_of_line(row, _owner(row, tags), day_at, line)
                    amount = amounts[day_and_facts, line] = charges.setdefault(kind, Amount())
                amount.nanousd += nanousd
                amount.quantity += whole
            continue
        owner = _owner(row, tags)
        for kind, nanousd, quantity, tokens in _parts(row, owner, day_at):
            amount = charges.setdefault(kind, Amount())
            amount.nanousd += nanousd
            amount.quantity += quantity
            amount.tokens += tokens
    for kind, nanousd in _machines(connection, since, until):
        charges.setdefault(kind, Amount()).nanousd += nanousd
    return charges


def _entries(connection: Connection, since: int, until: int) -> Iterator[Mapping[str, Any]]:
    for rows in pages(connection, _COLUMNS, since, until):
        yield from (row for row in rows if row["status"] not in NOT_COUNTED)


def _owner(row: Mapping[str, Any], tags: Sequence[str]) -> Owner:
    labels = orjson.loads(row["labels"] or "{}") if tags else {}
    tagged = tuple((name, str(labels[name])) for name in tags if name in labels)
    return Owner(row["upstream"], row["key"], row["team"], row["customer"] or row["user"], tagged)


_SAID = itemgetter(
    "cost_source", "provider", "model", "model_requested", "service_tier", "upstream", "key", "team", "customer", "user"
)
_Plain = tuple[str, str | None, str, int]  # unit, model, price as it is written, per
_PLACES = 9  # of a nano-dollar
_ZEROS = "0" * _PLACES


def _plain_lines(row: Mapping[str, Any]) -> list[tuple[_Plain, int, int]] | None:
    """The lines of an entry, nano-USD and quantity of each, as nearly all are: whole quantities at a price, costs of whole
    nano-dollars that add up. None where anything is otherwise: `_parts` knows what to make of that."""
    cost = row["cost_nanousd"]
    if row["kind"] != "attempt" or not cost or row["capacity_nanousd"]:
        return None
    lines = []
    try:
        for line in orjson.loads(row["cost_lines"]):
            unit, model, price, per = line["unit"], line.get("model"), line["price_usd"], line["per"]
            whole, _, fraction = line["cost_usd"].partition(".")
            nanousd, quantity = int(whole + (fraction + _ZEROS)[:_PLACES]), int(line["quantity"])
            numerator, denominator = _price(price)
            exact = quantity * numerator * NANO == nanousd * per * denominator
            if not exact or len(fraction) > _PLACES or type(per) is not int or per <= 0 or type(unit) is not str:
                return None
            lines.append(((unit, model, price, per), nanousd, quantity))
            cost -= nanousd
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return None
    return None if cost or not lines else lines


@lru_cache(maxsize=1024)
def _price(text: str) -> tuple[int, int]:
    """A price as a fraction. Raises where it is none of a quantity."""
    price = Decimal(text)
    if not price.is_finite() or price < 0:
        raise ValueError(text)
    return price.as_integer_ratio()


def _kind_of_line(row: Mapping[str, Any], owner: Owner, day_at: int, line: _Plain) -> Kind:
    unit, model, price, per = line
    source = "provider" if row["cost_source"] == "provider" else "price"
    named = model or row["model"] or row["model_requested"]
    return Kind(
        day_at, source, row["provider"], named, row["service_tier"], owner, unit, Decimal(price).normalize(), per
    )


_Part = tuple[Kind, int, Decimal, int]


def _parts(row: Mapping[str, Any], owner: Owner, day_at: int) -> Iterator[_Part]:
    """kind, nano-USD, quantity, tokens."""
    model = row["model"] or row["model_requested"]
    cost = row["cost_nanousd"]
    lines = _lines(row["cost_lines"]) if row["kind"] == "attempt" and cost is not None else []
    if lines and abs(sum(line.cost for line in lines) * NANO - cost) <= 1:
        for line, nanousd in zip(lines, to_whole(cost, [line.cost * NANO for line in lines]), strict=True):
            kind = Kind(
                day_at, "provider" if row["cost_source"] == "provider" else "price", row["provider"], line.model or model,
                row["service_tier"], owner, line.unit, line.price.normalize(), line.per,
            )  # fmt: skip
            yield kind, nanousd, line.quantity, 0
    else:
        whole = Kind(day_at, _source(row), row["provider"], model, row["service_tier"], owner)
        yield whole, cost or 0, Decimal(0), _tokens(row)
    if row["capacity_nanousd"]:
        yield Kind(day_at, "capacity", None, row["capacity"], None, owner), row["capacity_nanousd"], Decimal(0), 0


def _source(row: Mapping[str, Any]) -> str:
    if row["kind"] != "attempt":
        return "correction"
    if row["cost_nanousd"] is None:
        return "unpriced"
    if row["status"] == "unconfirmed":
        return "ceiling"
    return "provider" if row["cost_source"] == "provider" else "price"


def _lines(text: str | None) -> list[_Line]:
    """None of them where any is not a quantity at a price: the entry is one charge then."""
    try:
        lines = [
            _Line(
                str(line["unit"]),
                line.get("model"),
                Decimal(str(line["quantity"])),
                Decimal(str(line["price_usd"])),
                int(line["per"]),
                Decimal(str(line["cost_usd"])),
            )
            for line in orjson.loads(text or "[]")
        ]
    except (InvalidOperation, ValueError, KeyError, TypeError, AttributeError):
        return []
    return lines if all(_is_product(line) for line in lines) else []


def _is_product(line: _Line) -> bool:
    known = all(number.is_finite() for number in (line.quantity, line.price, line.cost))
    return known and line.per > 0 and line.price >= 0 and line.quantity * line.price == line.cost * line.per


def _tokens(row: Mapping[str, Any]) -> int:
    others = orjson.loads(row["usage"] or "{}")
    more = (amount for unit, amount in others.items() if unit in TOKENS and type(amount) is int)
    return sum(row[column] or 0 for column in TOKEN_COLUMNS.values()) + sum(more)


def _machines(connection: Connection, since: int, until: int) -> Iterator[tuple[Kind, int]]:
    """What one's own machines cost while nobody used them, or somebody that is not seen here."""
    minutes = capacity_minutes.c
    day_at = (minutes.minute_at - minutes.minute_at % DAY_US).label("day_at")
    sums = (sa.func.sum(minutes.idle_nanousd), sa.func.sum(minutes.outside_nanousd))
    query = sa.select(minutes.capacity, day_at, *sums).where(minutes.minute_at >= since, minutes.minute_at < until)
    for name, day, *amounts in connection.execute(query.group_by(minutes.capacity, day_at)):
        for source, nanousd in zip(("idle", "outside"), amounts, strict=True):
            if nanousd:
                yield Kind(int(day), source, None, name, None, Owner(None, None, None, None)), int(nanousd)
