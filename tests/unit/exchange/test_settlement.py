"""The record of an end: its two ways of being written agree, and the recorder's quick reading takes it."""

from __future__ import annotations

from decimal import Decimal

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pricing.cost import Cost, CostLine, Rate
from pricing.usage import Reading
from proxy.exchange.settlement import Charged, Settlement, Timings, settle_bytes, settle_record
from proxy.spool import plain
from proxy.types import Route

ROUTE = Route("asked", "up", "openai", "gpt-4o-mini")
NAMES = st.none() | st.sampled_from(["gpt-4o", "ünï", 'with "quotes"', "x" * 300])
FLAGS = st.sampled_from([(), ("implausible",), ("partial", "unexpected_model")])
RATE = Rate("output", Decimal("0.60"), 1_000_000, "operator")
LINES = st.sampled_from([(), (CostLine(RATE, 3, Decimal("0.0000018")),)])
READINGS = st.builds(
    Reading,
    usage=st.sampled_from([{}, {"input": 3, "audio_second": Decimal("1.5")}]),
    source=st.sampled_from(["provider", "none"]),
    model=NAMES,
    conditions=st.sampled_from([{}, {"service_tier": "flex"}]),
    flags=FLAGS,
)
COSTS = st.builds(
    Cost,
    status=st.just("priced"), lines=LINES, cost_usd=st.none(), cost_nanousd=st.none() | st.integers(0, 2**53),
    source=st.sampled_from(["computed", "provider"]), provider_reported_cost_usd=st.none() | st.just(Decimal("0.1")),
    flags=FLAGS, price_version=st.just("2026-11-30"), model=st.sampled_from(["", "gpt-4o-mini-2024-07-18"]),
    requested=st.sampled_from([{}, {"service_tier": "priority"}]),
)  # fmt: skip
TIMINGS = st.builds(
    Timings,
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
    st.none() | st.floats(0, 1e6),
    st.integers(0, 9),
)
SETTLEMENTS = st.builds(
    Settlement, st.sampled_from(["ok", "upstream_error"]), st.none() | st.just(200), READINGS, st.none() | COSTS,
    st.integers(0, 2**53), TIMINGS, NAMES, st.sampled_from([(), ("digest",)]), LINES,
)  # fmt: skip
CHARGED = st.builds(
    Charged, st.just("an-id"), st.just(ROUTE), st.none() | st.integers(0, 2**53),
    st.sampled_from([[], [["company", "", 0, "usd", 7]]]), st.sampled_from([(), ("budget_unverified",)]),
    st.sampled_from([{}, {"epoch": "e", "lease": [1, None]}]),
)  # fmt: skip


@given(SETTLEMENTS, CHARGED)
def test_both_ways_of_writing_an_end_agree(settlement: Settlement, charged: Charged) -> None:
    written = settle_bytes(settlement, charged)
    assert written == orjson.dumps(settle_record(settlement, charged), str)
    _, ended = plain.plain_records([written])
    (read,), (common,) = ended.own, ended.common
    timings, doubted = settlement.timings, "implausible" in settlement.reading.flags
    assert (read.ttft_ms, read.upstream_request_id) == (timings.ttft_ms, settlement.upstream_request_id)
    assert (read.itl_ms_sum, read.itl_count) == (
        (timings.itl_ms_sum, timings.itl_count) if timings.itl_count else (None, 0)
    )
    assert plain.is_said(read.told_usage) == doubted
    assert None not in (orjson.loads(written).get(name, 0) for name in ("told_usage", "ttft_ms", "upstream_request_id"))
    assert plain.common_end_of(common) is not None
