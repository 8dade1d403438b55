"""The database's order of groups is that of the report which reads them all, however the groups lie in roll-ups and entries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from sqlalchemy.engine import Engine

from proxy.control.pages.spend_sums import NOTHING, Sums, sums_of
from proxy.ledger.database import open_ledger
from proxy.reports.calendar import spend_by
from proxy.reports.ranking import ORDERS, count_groups, ranking
from proxy.reports.spans import Span
from proxy.times import BadQuestion
from tests.support.made_up import HOUR_US, START, fill, made_up

BY = (("customer",), ("user", "model"), ("team",), ("label.plan", "customer"), ("agent",), ("session", "team"))
SPANS = (
    Span(None, None),
    Span(START + 7_000_000, START + 49 * HOUR_US + 1),
    Span(START + 24 * HOUR_US, None),
    Span(START - 10, START - 9),
    Span(5, 5),
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('ranking')}/ledger.db")
    fill(engine, made_up(400))
    yield engine
    engine.dispose()


def groups_of(
    engine: Engine, by: tuple[str, ...], span: Span, only: dict[str, str]
) -> dict[tuple[str | None, ...], Sums]:
    """All groups, added up here."""
    groups: dict[tuple[str | None, ...], Sums] = {}
    for row in spend_by(engine, by, *span, only=only):
        key = tuple(row.group[name] or None for name in by)
        groups[key] = groups.get(key, NOTHING).plus(sums_of(row))
    return groups


FILTERS: tuple[dict[str, str], ...] = ({}, {"customer": "acme"}, {"team": ""})
# Each grouping with each span and with each filter, and each of these with each other.
TABLE = [(by, SPANS[j], FILTERS[(i + j) % 3]) for i, by in enumerate(BY) for j in range(len(SPANS))]


@pytest.mark.long
@pytest.mark.parametrize(("by", "span", "only"), TABLE)
def test_the_first_are_those_of_the_whole_report(
    ledger: Engine, by: tuple[str, ...], span: Span, only: dict[str, str]
) -> None:
    groups = groups_of(ledger, by, span, only)
    for order in ORDERS:
        ranked = ranking(ledger, by, span, only=only, order=order, most=1000)
        assert (set(ranked.first), ranked.groups) == (set(groups), len(groups))
        values = [(groups[key].of(order), groups[key].calls) for key in ranked.first]
        assert values == sorted(values, key=lambda value: (value[0] is None, -(value[0] or 0), -value[1]))
        few = ranking(ledger, by, span, only=only, order=order, most=2)
        assert few == (ranked.first[:2], len(groups) if ranked.first else 0)


@pytest.mark.long
def test_either_database_ranks_so(database: str) -> None:
    engine = open_ledger(database)
    fill(engine, made_up(100))
    for by, only in product(BY, ({}, {"team": ""})):
        groups = groups_of(engine, by, SPANS[1], only)
        assert count_groups(engine, by, SPANS[1:2], only=only) == len(groups)
        for order in ORDERS:
            ranked = ranking(engine, by, SPANS[1], only=only, order=order, most=1000)
            values = [(groups[key].of(order), groups[key].calls) for key in ranked.first]
            assert len(set(ranked.first)) == ranked.groups == len(groups)
            assert values == sorted(values, key=lambda value: (value[0] is None, -(value[0] or 0), -value[1]))
    engine.dispose()


def test_groups_of_several_spans_are_counted_once(ledger: Engine) -> None:
    spans = (Span(START, START + 20 * HOUR_US + 5), Span(START + 20 * HOUR_US + 5, START + 60 * HOUR_US))
    both = {key for span in spans for key in groups_of(ledger, ("session", "model"), span, {})}
    assert count_groups(ledger, ("session", "model"), spans, only={}) == len(both)


def test_what_is_no_name_is_refused(ledger: Engine) -> None:
    for by, only in ((("password",), {}), (("team",), {"x": "y"}), (("team", "team"), {})):
        with pytest.raises(BadQuestion):
            ranking(ledger, by, Span(None, None), only=only, order="cost", most=5)
