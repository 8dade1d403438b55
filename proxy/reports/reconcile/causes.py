"""Why a provider's figure of a day, model and line is not ours. Pure.

A difference is theirs less ours. Its causes are named in this order, each only on evidence, and what is left is unexplained:

- `credits`, `taxes`, `late corrections`: lines of the provider's that say so; and corrections of ours, which the provider has
  on its lines, or does not have yet;
- `unconfirmed`: entries of ours that stand at their ceiling. What the provider says is up to that much less; where it says it
  line by line, it shows as more on the lines of that day and model;
- `rounding`: less than the provider's amounts are rounded by;
- `cached tokens`: as many tokens as are missing on one of input and cache_read are too many on the other;
- `batch tier`, `flex tier`, `priority tier`: one side alone has calls in that tier;
- `discount`: less than its list's price, as the file itself has it;
- `zone`: what is missing on one day is there on the next;
- `no price here`: calls of that day and model that we have, without a price;
- `not through us`: more than we counted of a quantity, of a model that we know nothing of, or of a line whose price agrees on
  another day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from pricing.values import slotted

CREDITS, TAXES, LATE, UNCONFIRMED = "credits", "taxes", "late corrections", "unconfirmed"
ROUNDING, CACHED, DISCOUNT, ZONE = "rounding", "cached tokens", "discount", "zone"
UNPRICED, OTHERS = "no price here", "not through us"
_NONE = Fraction(0)
CORRECTION = "correction"
"""A line of our own: corrections have no unit."""

Key = tuple[str, str | None, str | None]
"""Day, model, line."""


@slotted
class Cell:
    """One day, model and line, in nano-USD. unconfirmed, corrected: what of ours is at its ceiling, or a correction. rows: how
    many of the provider's amounts are in it. counted, stated: quantities; None where the provider says none. stated_for: what
    the provider charged for those, without credits. tiers: what ours and theirs have of each tier with prices of its own.
    unpriced: tokens of ours without a price; has_unpriced: also of calls without tokens; has_priced: whether any has one.
    discount: what theirs is below its own list. accounts: our upstreams of which it has a confirmed cost."""

    ours: int = 0
    theirs: Fraction = Fraction(0)
    unconfirmed: int = 0
    corrected: int = 0
    rows: int = 0
    counted: Fraction = Fraction(0)
    stated: Fraction | None = None
    stated_for: Fraction = Fraction(0)
    tiers: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)
    unpriced: int = 0
    has_unpriced: bool = False
    has_priced: bool = False
    discount: Fraction = Fraction(0)
    accounts: set[str | None] = field(default_factory=set)
    causes: dict[str, Fraction] = field(default_factory=dict)

    @property
    def difference(self) -> Fraction:
        return self.theirs - self.ours

    @property
    def left(self) -> Fraction:
        return self.difference - sum(self.causes.values())

    def in_tier(self, tier: str, *, ours: Fraction = _NONE, theirs: Fraction = _NONE) -> None:
        before = self.tiers.get(tier, (_NONE, _NONE))
        self.tiers[tier] = before[0] + ours, before[1] + theirs

    def explain(self, cause: str, amount: Fraction) -> None:
        if amount:
            self.causes[cause] = self.causes.get(cause, Fraction(0)) + amount


def named_causes(cells: Mapping[Key, Cell], rounding: int) -> None:
    """Those that lines do not say themselves. rounding: nano-USD, of one amount of the provider's."""
    days: dict[tuple[str, str | None], list[Cell]] = defaultdict(list)
    for key, cell in cells.items():
        days[key[:2]].append(cell)
    _late(cells, days)
    _unconfirmed(cells, days)
    for cell in cells.values():
        if abs(cell.left) <= rounding * max(1, cell.rows):
            cell.explain(ROUNDING, cell.left)
    _cached(cells, rounding)
    _tiers(cells)
    _discounts(cells)
    _zones(cells, rounding)
    _unpriced(cells)
    _others(cells)


def rates(cells: Mapping[Key, Cell]) -> dict[Key, Fraction]:
    """What one cost us in nano-USD, by day, and ("") over all days."""
    sums: dict[Key, tuple[int, Fraction]] = defaultdict(lambda: (0, Fraction(0)))
    for (day, model, line), cell in cells.items():
        for key in ((day, model, line), ("", model, line)):
            cost, counted = sums[key]
            sums[key] = cost + cell.ours, counted + cell.counted
    return {key: cost / counted for key, (cost, counted) in sums.items() if counted}


_Days = Mapping[tuple[str, str | None], Sequence[Cell]]
"""What is of one day and model."""


def _late(cells: Mapping[Key, Cell], days: _Days) -> None:
    """Corrections of ours: what the provider has of them shows on the lines of their day and model; without one that it does
    not have, the figures are nearer."""
    for key, cell in cells.items():
        if key[2] == CORRECTION:
            taken = cell.left
            cell.explain(LATE, taken)
            _shown(days[key[:2]], cell, -taken, LATE)
        elif cell.corrected and abs(cell.left + cell.corrected) < abs(cell.left):
            cell.explain(LATE, Fraction(-cell.corrected))


def _unconfirmed(cells: Mapping[Key, Cell], days: _Days) -> None:
    """A ceiling is at most that much too high; what it came to shows on the lines of its day and model."""
    for key, cell in cells.items():
        if not cell.unconfirmed:
            continue
        taken = min(Fraction(cell.unconfirmed), max(Fraction(0), -cell.left))
        cell.explain(UNCONFIRMED, -taken)
        if key[2] == UNCONFIRMED:
            _shown(days[key[:2]], cell, taken, UNCONFIRMED)


def _shown(beside: Iterable[Cell], own: Cell, amount: Fraction, cause: str) -> None:
    """What lines of the same day and model have more (less, where `amount` is), up to so much, has this cause."""
    for cell in beside:
        if cell is not own and cell.left * amount > 0:
            part = min(amount, cell.left, key=abs)
            cell.explain(cause, part)
            amount -= part


def _cached(cells: Mapping[Key, Cell], rounding: int) -> None:
    """Tokens that one side has as input and the other as read from a cache: by quantities where the file has them, else by
    what a token of each line costs us."""
    of_one = rates(cells)
    for (day, model, line), read in cells.items():
        whole = cells.get((day, model, "input"))
        if line != "cache_read" or whole is None or read.left * whole.left >= 0:
            continue
        moved = [_moved(cell, of_one.get(("", model, name))) for cell, name in ((read, line), (whole, "input"))]
        if moved[0] is None or moved[1] is None:
            continue
        of_read = abs(read.left / moved[0])  # nano-USD of a token
        if abs(moved[0] + moved[1]) * of_read <= rounding * max(1, read.rows + whole.rows):
            for cell in (read, whole):
                cell.explain(CACHED, cell.left)


def _moved(cell: Cell, rate: Fraction | None) -> Fraction | None:
    """How many tokens a line has more than ours; None where nothing says it, or none."""
    if cell.stated is not None:
        return cell.stated - cell.counted or None
    return cell.left / rate if rate else None


def _tiers(cells: Mapping[Key, Cell]) -> None:
    """A tier that one side alone knows: batch and flex are cheaper than the standard one, priority is dearer, each by no more
    than what was charged in it. Where both sides have it, a difference may be one of price."""
    for cell in cells.values():
        if cell.stated is not None and cell.stated != cell.counted:
            continue
        for tier, (ours, theirs) in sorted(cell.tiers.items()):
            made = theirs - ours if tier == "priority" else ours - theirs
            if not (ours and theirs) and made * cell.left > 0:
                cell.explain(f"{tier} tier", min(made, cell.left, key=abs))


def _discounts(cells: Mapping[Key, Cell]) -> None:
    for cell in cells.values():
        if cell.left < 0:
            cell.explain(DISCOUNT, max(cell.left, -cell.discount))


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


def _unpriced(cells: Mapping[Key, Cell]) -> None:
    """Calls that we have without a price: what a line of their day and model has more, of as many tokens."""
    unpriced: dict[tuple[str, str | None], int] = defaultdict(int)
    for (day, model, _), cell in cells.items():
        unpriced[day, model] += cell.unpriced
    for (day, model, _), cell in cells.items():
        if cell.left > 0 and unpriced[day, model]:
            tokens = cell.stated
            amount = cell.left
            if tokens is not None:
                of_them = min(Fraction(1), unpriced[day, model] / tokens) if tokens > 0 else Fraction(0)
                amount = min(amount, cell.stated_for * of_them)
            cell.explain(UNPRICED, amount)


def _others(cells: Mapping[Key, Cell]) -> None:
    our_models = {model for (_, model, _), cell in cells.items() if cell.ours}
    agreeing = {key[1:] for key, cell in cells.items() if cell.ours and not cell.left and ZONE not in cell.causes}
    for (_, model, line), cell in cells.items():
        if cell.left <= 0:
            continue
        if cell.stated is not None and cell.ours:
            more = cell.stated - cell.counted
            if more > 0:
                cell.explain(OTHERS, min(cell.left, more * cell.stated_for / cell.stated))
        elif (model is not None and model not in our_models) or not cell.ours or (model, line) in agreeing:
            cell.explain(OTHERS, cell.left)
