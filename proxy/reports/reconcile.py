"""What we counted against what a provider says: by day, model and line, and why they differ.

A difference is theirs less ours. Its causes are named in this order, each only on evidence, and what is left is unexplained:

- `credits`, `late corrections`: lines of the provider's that say so; and corrections of ours, which the provider has on its
  lines, or does not have yet;
- `unconfirmed`: entries of ours that stand at their ceiling. What the provider says is up to that much less; where it says it
  line by line, it shows as more on the lines of that day and model;
- `rounding`: less than the provider's amounts are rounded by;
- `zone`: what is missing on one day is there on the next;
- `not through us`: more than we counted of a quantity, of a model that we know nothing of, or of a line whose price agrees on
  another day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from pricing.book import Book
from pricing.values import slotted
from proxy.money import NANO
from proxy.reports.focus import Amount, Kind, daily_charges, utc_day
from proxy.reports.model_names import namer
from proxy.reports.stated import TAX, Stated
from proxy.reports.statement import Statement

CREDITS, LATE, UNCONFIRMED = "credits", "late corrections", "unconfirmed"
ROUNDING, ZONE, OTHERS = "rounding", "zone", "not through us"
CORRECTION = "correction"
"""A line of our own: corrections have no unit."""
_MACHINES = ("capacity", "idle", "outside")
_LEAST_ROUNDING = 1000  # nano-USD: 0.000001 USD

Key = tuple[str, str | None, str | None]
"""Day, model, line."""


@slotted
class Cell:
    """One day, model and line, in nano-USD. unconfirmed, corrected: what of ours is at its ceiling, or a correction. rows: how
    many of the provider's amounts are in it. counted, stated: quantities; None where the provider says none. stated_for: what
    the provider charged for those, without credits."""

    ours: int = 0
    theirs: Fraction = Fraction(0)
    unconfirmed: int = 0
    corrected: int = 0
    rows: int = 0
    counted: Fraction = Fraction(0)
    stated: Fraction | None = None
    stated_for: Fraction = Fraction(0)
    causes: dict[str, Fraction] = field(default_factory=dict)

    @property
    def difference(self) -> Fraction:
        return self.theirs - self.ours

    @property
    def left(self) -> Fraction:
        return self.difference - sum(self.causes.values())

    def explain(self, cause: str, amount: Fraction) -> None:
        if amount:
            self.causes[cause] = self.causes.get(cause, Fraction(0)) + amount


class Reconciliation(NamedTuple):
    """cells: in the order of day, model and line. unvalued: lines of a usage report that nothing here has a price for.
    has_models: whether the provider tells models apart."""

    cells: Mapping[Key, Cell]
    unvalued: Sequence[str]
    has_models: bool

    @property
    def ours(self) -> int:
        return sum(cell.ours for cell in self.cells.values())

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
    _late(cells)
    _unconfirmed(cells)
    rounding = (
        max(_LEAST_ROUNDING, NANO // (2 * 10 ** max(2, statement.places))) if statement.places else _LEAST_ROUNDING
    )
    for cell in cells.values():
        if abs(cell.left) <= rounding * max(1, cell.rows):
            cell.explain(ROUNDING, cell.left)
    _zones(cells, rounding)
    _others(cells)
    ordered = sorted(cells, key=lambda key: (key[0], key[1] or "", key[2] or ""))
    kept = {key: cells[key] for key in ordered if cells[key].ours or cells[key].theirs or cells[key].rows}
    return Reconciliation(kept, sorted(unvalued), has_models)


def day_start(day: str, zone: ZoneInfo) -> int:
    """Epoch microseconds."""
    return int(datetime.combine(datetime.fromisoformat(day).date(), time(), zone).timestamp() * 1_000_000)


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
            UNCONFIRMED if kind.source == "ceiling" else "correction" if kind.source == "correction" else None,
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
    if kind.source == "ceiling":
        cell.unconfirmed += amount.nanousd
    elif kind.source == "correction":
        cell.corrected += amount.nanousd


def _add_theirs(
    cells: dict[Key, Cell], lines: Iterable[Stated], named: Callable[[str], str], *, has_models: bool
) -> set[str]:
    """Usage without amounts is valued at what its line cost us, that day or on the others."""
    unvalued: set[str] = set()
    rates = _rates(cells)
    for stated in lines:
        model = named(stated.model) if stated.model else None
        line = stated.line if has_models or stated.kind != "charge" or stated.line == TAX else None
        if stated.kind != "charge" and line is None:
            line = CREDITS if stated.kind == "credit" else LATE
        usd = None if stated.usd is None else Fraction(stated.usd) * NANO
        if usd is None and not stated.quantity:
            continue
        if usd is None:
            rate = rates.get((stated.day, model, line), rates.get(("", model, line)))
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
        if stated.kind != "charge":
            cell.explain(CREDITS if stated.kind == "credit" else LATE, usd)
    return unvalued


def _rates(cells: Mapping[Key, Cell]) -> dict[Key, Fraction]:
    """Nano-USD of one, by day, and ("") over all days."""
    sums: dict[Key, tuple[int, Fraction]] = defaultdict(lambda: (0, Fraction(0)))
    for (day, model, line), cell in cells.items():
        for key in ((day, model, line), ("", model, line)):
            cost, counted = sums[key]
            sums[key] = cost + cell.ours, counted + cell.counted
    return {key: cost / counted for key, (cost, counted) in sums.items() if counted}


# Causes


def _late(cells: Mapping[Key, Cell]) -> None:
    """Corrections of ours: what the provider has of them shows on the lines of their day and model; without one that it does
    not have, the figures are nearer."""
    for key, cell in cells.items():
        if key[2] == CORRECTION:
            taken = cell.left
            cell.explain(LATE, taken)
            _shown(cells, key, -taken, LATE)
        elif cell.corrected and abs(cell.left + cell.corrected) < abs(cell.left):
            cell.explain(LATE, Fraction(-cell.corrected))


def _unconfirmed(cells: Mapping[Key, Cell]) -> None:
    """A ceiling is at most that much too high; what it came to shows on the lines of its day and model."""
    for key, cell in cells.items():
        if not cell.unconfirmed:
            continue
        taken = min(Fraction(cell.unconfirmed), max(Fraction(0), -cell.left))
        cell.explain(UNCONFIRMED, -taken)
        if key[2] == UNCONFIRMED:
            _shown(cells, key, taken, UNCONFIRMED)


def _shown(cells: Mapping[Key, Cell], key: Key, amount: Fraction, cause: str) -> None:
    """What lines of the same day and model have more (less, where `amount` is), up to so much, has this cause."""
    for other, cell in cells.items():
        if other[:2] == key[:2] and other != key and cell.left * amount > 0:
            part = min(amount, cell.left, key=abs)
            cell.explain(cause, part)
            amount -= part


def _zones(cells: Mapping[Key, Cell], rounding: int) -> None:
    """Days that differ where their sum does not, or a day that lacks what its neighbour has."""
    series: dict[tuple[str | None, str | None], list[tuple[str, Cell]]] = defaultdict(list)
    for (day, model, line), cell in sorted(cells.items(), key=lambda item: item[0][0]):
        series[model, line].append((day, cell))
    for days in series.values():
        differing = [(day, cell) for day, cell in days if cell.left]
        if len(differing) < 2:
            continue
        together = sum((cell.left for _, cell in differing), Fraction(0))
        if abs(together) <= rounding * sum(max(1, cell.rows) for _, cell in days):
            for _, cell in differing:
                cell.explain(ZONE, cell.left)
            continue
        for (day, cell), (next_day, following) in pairwise(differing):
            near = datetime.fromisoformat(next_day) - datetime.fromisoformat(day) == timedelta(days=1)
            if near and cell.left * following.left < 0 and abs(cell.left + following.left) <= 2 * rounding:
                cell.explain(ZONE, cell.left)
                following.explain(ZONE, following.left)


def _others(cells: Mapping[Key, Cell]) -> None:
    our_models = {model for (_, model, _), cell in cells.items() if cell.ours}
    agreeing = {key[1:] for key, cell in cells.items() if cell.ours and not cell.left and ZONE not in cell.causes}
    for (_, model, line), cell in cells.items():
        if cell.left <= 0 or line == TAX:
            continue
        if cell.stated is not None and cell.ours:
            more = cell.stated - cell.counted
            if more > 0:
                cell.explain(OTHERS, min(cell.left, more * cell.stated_for / cell.stated))
        elif (model is not None and model not in our_models) or not cell.ours or (model, line) in agreeing:
            cell.explain(OTHERS, cell.left)
