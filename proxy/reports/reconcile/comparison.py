"""What we counted against what a provider says: by day, model and line, and why they differ (`causes.py`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime, time, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from pricing.book import Book
from proxy.money import NANO
from proxy.reports.focus.charges import Amount, Kind, daily_charges, utc_day
from proxy.reports.reconcile.causes import CORRECTION, CREDITS, LATE, TAXES, UNCONFIRMED, Cell, Key, named_causes, rates
from proxy.reports.reconcile.model_names import namer
from proxy.reports.reconcile.stated import TAX, Stated, tier_named
from proxy.reports.reconcile.statement import Statement

_MACHINES = ("capacity", "idle", "outside")
_LEAST_ROUNDING = 1000  # nano-USD: 0.000001 USD


class Reconciliation(NamedTuple):
    """cells: in the order of day, model and line. unvalued: lines of a usage report that nothing here has a price for.
    has_models: whether the provider tells models apart. rounding: of one amount of the provider's, in nano-USD."""

    cells: Mapping[Key, Cell]
    unvalued: Sequence[str]
    has_models: bool
    rounding: int

    @property
    def ours(self) -> int:
        return sum(cell.ours for cell in self.cells.values())

    @property
    def unknown(self) -> Set[tuple[str, str | None]]:
        """The days and models of which nobody knows what they cost us: calls, and none with a price."""
        unpriced = {key[:2] for key, cell in self.cells.items() if cell.has_unpriced}
        return unpriced - {key[:2] for key, cell in self.cells.items() if cell.has_priced}

    @property
    def is_known(self) -> bool:
        """Whether anybody knows what all of it cost us: some call has a price, or there is none."""
        return not self.unknown or any(cell.has_priced for cell in self.cells.values())

    @property
    def theirs(self) -> Fraction:
        return sum((cell.theirs for cell in self.cells.values()), Fraction(0))

    @property
    def unexplained(self) -> Fraction:
        """Without regard to signs: what is too much on one line does not make up for what is too little on another."""
        return sum((abs(cell.left) for cell in self.cells.values()), Fraction(0))


def reconcile(
    engine: Engine, book: Book, provider: str, statement: Statement, span: tuple[int, int], zone: ZoneInfo
) -> Reconciliation:
    """span: epoch microseconds; the provider's lines of its days in `zone` are compared with the entries that began in it."""
    since, until = span
    named = namer(book, provider, until)
    lines = [line for line in statement.lines if since <= day_start(line.day, zone) < until]
    has_models = any(line.model for line in lines)
    has_lines = any(line.line and line.model for line in lines) or not has_models
    cells: dict[Key, Cell] = defaultdict(Cell)
    of_no_model = {line.line for line in lines if line.model is None and has_models}
    for charges in daily_charges(engine, since, until, day_of=_day_of(zone)):
        for kind, amount in charges.items():
            if kind.source not in _MACHINES and book.catalog.canonical(kind.provider or "") == provider:
                key = _key(kind, named, zone, has_models=has_models, has_lines=has_lines)
                place = (key[0], None, key[2]) if key[2] and key[2] in of_no_model else key
                _add_ours(cells[place], kind, amount)
    unvalued = _add_theirs(cells, lines, named, has_models=has_models)
    rounding = (
        max(_LEAST_ROUNDING, NANO // (2 * 10 ** max(2, statement.places))) if statement.places else _LEAST_ROUNDING
    )
    named_causes(cells, rounding)
    ordered = sorted(cells, key=lambda key: (key[0], key[1] or "", key[2] or ""))
    kept = {key: cells[key] for key in ordered if _says_something(cells[key])}
    return Reconciliation(kept, sorted(unvalued), has_models, rounding)


def _says_something(cell: Cell) -> bool:
    return bool(cell.ours or cell.theirs or cell.rows or cell.has_unpriced)


def day_start(day: str, zone: ZoneInfo) -> int:
    """Epoch microseconds."""
    return int(datetime.combine(datetime.fromisoformat(day).date(), time(), zone).timestamp() * 1_000_000)


def day_edge(at_us: int, zone: ZoneInfo, *, after: bool = False) -> int:
    """Where the day of an instant begins; after: the next one, unless it begins just then. A bill has no part of a day."""
    day = datetime.fromtimestamp(at_us // 1_000_000, zone).date()
    begin = day_start(day.isoformat(), zone)
    return begin if begin == at_us or not after else day_start((day + timedelta(days=1)).isoformat(), zone)


def span_of(statement: Statement, zone: ZoneInfo) -> tuple[int, int]:
    """The days of a statement, the last one whole."""
    days = sorted(line.day for line in statement.lines)
    after = datetime.fromisoformat(days[-1]).date() + timedelta(days=1)
    return day_start(days[0], zone), day_start(after.isoformat(), zone)


def _day_of(zone: ZoneInfo) -> Callable[[int], int]:
    if zone.key == "UTC":
        return utc_day
    return lambda at_us: day_start(f"{datetime.fromtimestamp(at_us // 1_000_000, zone):%Y-%m-%d}", zone)


def _key(kind: Kind, named: Callable[[str], str], zone: ZoneInfo, *, has_models: bool, has_lines: bool) -> Key:
    day = f"{datetime.fromtimestamp(kind.day_at // 1_000_000, zone):%Y-%m-%d}"
    model = named(kind.model) if kind.model and has_models else None
    if not has_lines or not has_models:
        return day, model, None
    if kind.unit is None:
        return (
            day,
            model,
            UNCONFIRMED if kind.source == "ceiling" else CORRECTION if kind.source == "correction" else None,
        )
    return day, model, _line(kind.unit)


def _line(unit: str) -> str:
    """As `line_named` has them."""
    if unit.startswith("cache_write"):
        return "cache_write"
    return "output" if unit == "reasoning" else unit


def _add_ours(cell: Cell, kind: Kind, amount: Amount) -> None:
    cell.ours += amount.nanousd
    cell.counted += Fraction(amount.quantity) if kind.unit else amount.tokens
    if (tier := tier_named(kind.tier)) is not None:
        cell.in_tier(tier, ours=Fraction(amount.nanousd))
    if kind.source == "unpriced":
        cell.unpriced += amount.tokens
        cell.has_unpriced = True
        return
    cell.has_priced = True
    if kind.source == "ceiling":
        cell.unconfirmed += amount.nanousd
    elif kind.source == "correction":
        cell.corrected += amount.nanousd
    elif amount.nanousd:
        cell.accounts.add(kind.owner.upstream)


def _add_theirs(
    cells: dict[Key, Cell], lines: Iterable[Stated], named: Callable[[str], str], *, has_models: bool
) -> set[str]:
    """Usage without amounts is valued at what its line cost us, that day or on the others."""
    unvalued: set[str] = set()
    of_one = rates(cells)
    for stated in lines:
        model = named(stated.model) if stated.model else None
        line = stated.line if has_models or stated.kind != "charge" or stated.line == TAX else None
        if stated.kind != "charge" and line is None:
            line = CREDITS if stated.kind == "credit" else LATE
        usd = None if stated.usd is None else Fraction(stated.usd) * NANO
        if usd is None and not stated.quantity:
            continue
        if usd is None:
            rate = of_one.get((stated.day, model, line), of_one.get(("", model, line)))
            if rate is None:
                unvalued.add(f"{model or 'no model'}, {line or 'no line'}")
                continue
            usd = rate * Fraction(stated.quantity or 0)
        cell = cells[stated.day, model, line]
        cell.theirs += usd
        cell.rows += 1
        if stated.quantity is not None and stated.kind == "charge":
            cell.stated = (cell.stated or Fraction(0)) + Fraction(stated.quantity)
            cell.stated_for += usd
        if stated.tier is not None and stated.kind == "charge":
            cell.in_tier(stated.tier, theirs=usd)
        if stated.listed is not None and stated.kind == "charge":
            cell.discount += max(Fraction(0), Fraction(stated.listed) * NANO - usd)
        if stated.line == TAX:
            cell.explain(TAXES, usd)
        elif stated.kind != "charge":
            cell.explain(CREDITS if stated.kind == "credit" else LATE, usd)
    return unvalued
