"""Which rows hold for one kind of call at one time, of the catalog's and the operator's. Nothing is remembered here;
`book.py` does that. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from pricing.catalog import Catalog, Model
from pricing.dearest import Dearest, dearest_rates
from pricing.facts import facts_of
from pricing.operator import rows_for, rows_of_snapshots
from pricing.price import Multiplier, Price, Row
from pricing.requested import requested_conditions
from pricing.resolve import Call, Plan, Span, applying_multipliers, applying_rows, make_plan, serves_unpriced
from pricing.units import TOKENS, default_per

_ZERO = Decimal(0)

# Capacity that is paid for already, and what is given away: its tokens cost nothing.
PROVISIONED = Row(
    "*", "*", {unit: Price(_ZERO, default_per(unit)) for unit in sorted(TOKENS)}, source="provisioned or free"
)


class Selection:
    """The catalog's rows, and the operator's before them. assumed: USD per million tokens where neither has a price."""

    def __init__(
        self,
        catalog: Catalog,
        rows: Sequence[Row],
        multipliers: Sequence[Multiplier],
        assumed: Mapping[str, Decimal] | None,
    ) -> None:
        self._catalog = catalog
        self._rows = rows
        self._multipliers = multipliers
        self._assumed = _assumed_row(assumed) if assumed is not None else None

    def plan(
        self,
        provider: str,
        model: str,
        routed: str | None,
        conditions: Mapping[str, str],
        endpoint: str | None,
        attributes: Mapping[str, str | None],
        at_s: int,
    ) -> Plan:
        """The prices of one kind of call at `at_s`. routed: the name it was routed to, where another one answered."""
        canonical, name, span = self._catalog.canonical(provider), model.lower(), Span(at_s)
        names, listed = self._names(canonical, name, routed, at_s)
        facts = facts_of(canonical, name, conditions, endpoint)
        call = Call(canonical, names, facts, attributes, at_s)
        schedules = self._catalog.schedules
        book_rows = applying_rows(rows_for(self._rows, provider, canonical, names), facts, schedules, span)
        own = applying_rows(((1, row) for row in listed.rows) if listed else (), facts, schedules, span)
        common = self._catalog.common_rows(canonical)
        tools = applying_rows(((0, row) for row in common), facts, schedules, span)
        own_conditions = frozenset(name for row in own for name in row.when)
        own_multipliers = self._catalog.multipliers.get(canonical, ())
        multipliers = (
            *applying_multipliers(own_multipliers, call, schedules, span, own_conditions),
            *applying_multipliers(self._multipliers, call, schedules, span),
        )
        if facts.get("processing") in ("provisioned", "free"):
            return make_plan(book_rows, (PROVISIONED, *own, *tools), (), span, priced=True)
        if self._assumed is not None and not book_rows and not own:
            plan = make_plan((), (*tools, self._assumed), multipliers, span, priced=True)
            plan.assumed = True
            return plan
        plan = make_plan(book_rows, (*own, *tools), multipliers, span, priced=bool(book_rows or own))
        if own and not book_rows and listed:
            place_known = self._catalog.knows_place(canonical, facts, names, listed)
            plan.serves_unpriced = not place_known or serves_unpriced(facts, canonical, (*own, *multipliers))
        return plan

    def _names(self, provider: str, name: str, routed: str | None, at_s: int) -> tuple[tuple[str, ...], Model | None]:
        """All names that the model goes by, and what the book has of it.

        The routed name is one of them where it is the same model, or one of its snapshots, or a name that only the operator
        knows: his row for `gpt-4o-mini` is for the snapshot that answers to it, listed by itself or not, and his row for a
        deployment is for the model that answers there.
        """
        model = self._catalog.find(provider, name, at_s)
        names = [name]
        if model is not None and model.name != name:
            names.append(model.name)
        if routed is not None and (lower := routed.lower()) not in names:
            other = self._catalog.find(provider, lower, at_s)
            if model is not None and (
                other is None
                or other.name == model.name
                or model in self._catalog.snapshots(provider, lower, at_s).values()
            ):
                names.append(lower)
        return tuple(names), model

    def dearest(
        self,
        provider: str,
        model: str,
        from_s: int,
        to_s: int,
        attributes: Mapping[str, str | None],
        fixed: Mapping[str, str],
        without: frozenset[str],
    ) -> Dearest | None:
        """The dearest prices of a call that ends in [from_s, to_s]; None: it has none. As of `Book.ceiling_nanousd`."""
        canonical, name = self._catalog.canonical(provider), model.lower()
        names, listed = self._names(canonical, name, None, from_s)
        later, found_later = self._names(canonical, name, None, to_s)
        names = tuple(dict.fromkeys((*names, *later)))
        own = (*listed.rows, *self._catalog.common_rows(canonical)) if listed else ()
        if found_later is not None and found_later is not listed:
            own = (*own, *found_later.rows)
        facts = facts_of(canonical, name, fixed, None)
        book_rows = rows_for(self._rows, provider, canonical, names)
        if not book_rows and not own and self._assumed is not None:
            own = (self._assumed,)
        book_rows += rows_of_snapshots(self._rows, self._catalog, provider, canonical, names, from_s)
        snapshots = self._catalog.snapshots(canonical, name, from_s) | self._catalog.snapshots(canonical, name, to_s)
        own = (*own, *(row for snapshot in snapshots.values() for row in snapshot.rows))
        return dearest_rates(
            Call(canonical, names, facts, attributes, from_s, tuple(snapshots)),
            book_rows,
            own,
            (*self._catalog.multipliers.get(canonical, ()), *self._multipliers),
            self._catalog.schedules,
            to_s,
            frozenset(fixed),
            without,
        )

    def relevant_conditions(self, requested: Mapping[str, str], provider: str, model: str, at_s: int) -> dict[str, str]:
        """Those of a request's conditions that some price of the model depends on: others must not fill caches."""
        canonical, name = self._catalog.canonical(provider), model.lower()
        names, listed = self._names(canonical, name, None, at_s)
        snapshots = self._catalog.snapshots(canonical, name, at_s)
        rows = [*(listed.rows if listed else ()), *self._catalog.common_rows(canonical)]
        rows += [row for snapshot in snapshots.values() for row in snapshot.rows]
        rows += [row for _, row in rows_for(self._rows, provider, canonical, names)]
        factors = (*self._catalog.multipliers.get(canonical, ()), *self._multipliers)
        return requested_conditions(requested, canonical, (*names, *snapshots), rows, factors)


def _assumed_row(usd: Mapping[str, Decimal]) -> Row:
    return Row("*", "*", {unit: Price(price, default_per(unit)) for unit, price in usd.items()}, source="assumed")
