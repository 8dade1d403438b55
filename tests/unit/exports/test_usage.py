"""What an entry says to others: exact, bounded, and nothing of a client's secrets or words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.exports.usage import payer_of, units_of, usage_of
from proxy.ledger.beside.export_log import CAPACITY, ENTRY, Item
from tests.support.made_up import made_up

ROW = made_up(1)[0].row._asdict()


def row(**changes: Any) -> dict[str, Any]:
    return ROW | changes


def test_amounts_are_exact_and_tokens_are_counted_as_providers_do() -> None:
    said = usage_of(Item(row(
        cost_nanousd=1_234_567_891, input_tokens=10, cache_read_tokens=5, cache_write_5m_tokens=2, cache_write_1h_tokens=1,
        output_tokens=7, reasoning_tokens=3, usage='{"audio_in": 4, "web_search": 2, "audio_second": "1.25", "citation": 9}',
    ), ENTRY))  # fmt: skip
    assert said["cost_usd"] == "1.234567891"
    assert (said["input_tokens"], said["cache_read_tokens"], said["cache_write_tokens"]) == (22, 5, 3)
    assert said["reasoning_tokens"] == 3
    assert said["units"] == {
        "input": 10, "cache_read": 5, "cache_write_5m": 2, "cache_write_1h": 1, "output": 7, "reasoning": 3,
        "audio_in": 4, "web_search": 2, "audio_second": 1.25, "citation": 9,
    }  # fmt: skip


def test_what_is_unknown_is_null_and_never_0() -> None:
    assert usage_of(Item(row(cost_nanousd=None), ENTRY))["cost_usd"] is None


@pytest.mark.parametrize(
    "usage",
    ['{"x": "NaN"}', '{"x": "words"}', '{"x": null}', '{"x": true}', '{"x": 0}', '{"x": 1e30}', '{"x": -1e30}',
     '{"x": 18446744073709551615}', '{"x": "1E+400"}', '{"x": "-99999999999999999999"}', None],
)  # fmt: skip
def test_a_usage_that_is_odd_is_left_out(usage: str | None) -> None:
    assert "x" not in units_of(row(usage=usage))


def test_a_share_of_a_machine_is_its_cost_alone() -> None:
    item = Item(row(capacity="pool", capacity_nanousd=5_000_000, cost_nanousd=9), CAPACITY)
    said = usage_of(item)
    assert (said["id"], said["kind"], said["corrects_id"]) == (f"{ROW['id']}/capacity", "capacity", ROW["id"])
    assert (said["cost_usd"], said["units"], said["input_tokens"]) == ("0.005", {}, 0)


def test_what_a_client_says_of_itself_and_digests_stay_here() -> None:
    text = json.dumps(usage_of(Item(row(untrusted_labels='{"secret": "of-a-client"}', key_id="d" * 64), ENTRY)))
    assert "of-a-client" not in text
    assert "d" * 64 not in text


def test_who_pays_is_an_attribute_or_a_label() -> None:
    paid = row(customer="acme", labels='{"tenant": "t-1"}')
    assert payer_of(paid, "customer") == "acme"
    assert payer_of(paid, "label.tenant") == "t-1"
    assert payer_of(paid, "label.none") is None
    assert payer_of(row(customer=""), "customer") is None
