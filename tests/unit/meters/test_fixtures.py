"""Every fixture through its reader: usage, flags, conservation (invariant 8), and streams split at every byte (invariant 7)."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from proxy.meters import registry
from tests.support.examples import tried
from tests.support.fixtures import THINGS, Fixture, load, read_wire, total_usage, wire_bytes
from tests.support.rows import each_row

ALL = load()
SINGLE = [one for one in ALL if one.line["dialect"] != "session"]
STREAMS = [one for one in SINGLE if "events" in one.line]
names = lambda one: one.name  # noqa: E731


@each_row("fixture", SINGLE, ids=names)
def test_usage_and_flags(fixture: Fixture) -> None:
    reading = fixture.read()
    assert {unit: str(quantity) for unit, quantity in total_usage(reading).items()} == fixture.expected["usage"]
    assert list(reading.flags) == fixture.read_flags
    if source := fixture.expected.get("usage_source"):
        assert reading.source == source


@each_row("fixture", [one for one in ALL if "tokens" in one.expected], ids=names)
def test_disjoint_units_add_up_to_the_providers_total(fixture: Fixture) -> None:
    usage = total_usage(fixture.read())
    assert sum(quantity for unit, quantity in usage.items() if unit not in THINGS) == fixture.expected["tokens"]


@each_row("fixture", ALL, ids=names)
def test_the_arithmetic_of_a_fixture_is_its_cost(fixture: Fixture) -> None:
    lines = fixture.expected["arithmetic"]
    for line in lines:
        assert Decimal(line["quantity"]) * Decimal(line["usd"]) / line["per"] == Decimal(line["cost_usd"])
    if fixture.expected["cost_usd"] is not None:
        assert sum(Decimal(line["cost_usd"]) for line in lines) == Decimal(fixture.expected["cost_usd"])
    assert fixture.expected["source"]


@pytest.mark.long
@each_row("fixture", STREAMS, ids=names)
def test_every_split_of_a_streams_bytes_reads_the_same(fixture: Fixture) -> None:
    """At every byte; with few `EXAMPLES` at some, other ones each time."""
    expected = fixture.read()
    stream = wire_bytes(fixture)
    places = range(len(stream) + 1)
    for cut in random.sample(places, min(tried(len(places)), len(places))):
        assert read_wire(fixture, iter((stream[:cut], stream[cut:]))) == expected, cut
    assert read_wire(fixture, (stream[i : i + 1] for i in range(len(stream)))) == expected


@each_row("line_end", [b"\r\n", b"\r"])
@each_row("fixture", [one for one in STREAMS if not one.line["dialect"].startswith("bedrock")], ids=names)
def test_other_line_ends_read_the_same(fixture: Fixture, line_end: bytes) -> None:
    if line_end == b"\r" and fixture.line["dialect"].startswith("ollama"):
        line_end = b"\r\n"  # NDJSON has no bare CR
    stream = wire_bytes(fixture, line_end)
    assert read_wire(fixture, (stream[i : i + 7] for i in range(0, len(stream), 7))) == fixture.read()


def test_every_dialect_has_a_fixture() -> None:
    covered = {one.reader.dialect for one in SINGLE}
    assert {one.dialect for one in registry.all_readers()} - covered == set()


def test_there_are_enough() -> None:
    assert len(ALL) >= 150
    assert len(STREAMS) >= 30
