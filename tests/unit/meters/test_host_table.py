"""The hosts' table: every provider of the price book has a row, and an answer as a row describes it is read as it says."""

from __future__ import annotations

from typing import Any

import orjson

from pricing.load import DATA
from proxy.dialects.streams import CHAT
from proxy.exchange.gate import StreamGate
from proxy.meters import Context, reader
from proxy.meters.host_table import ROWS, Row, row_of
from tests.support.rows import each_row

PROVIDERS = sorted({orjson.loads(line)["provider"] for line in (DATA / "prices.jsonl").read_bytes().splitlines()})
CHATS = [name for name, row in ROWS.items() if row.shape == "openai"]


def test_every_provider_of_the_price_book_has_a_row() -> None:
    assert [name for name in PROVIDERS if name not in ROWS] == []


@each_row("name", ROWS)
def test_a_row_says_where_it_is_from(name: str) -> None:
    row = ROWS[name]
    assert len(row.source) > 10
    assert len(row.checked) == len("2026-11-28")
    assert row_of(name) is row


def placed(row: Row, usage: dict[str, Any]) -> dict[str, Any]:
    """The part of an answer that has the usage, where the row says that it stands."""
    if row.final == "x_groq":
        return {"x_groq": {"usage": usage}, "choices": []}
    if row.usage == "choices[].usage":
        return {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage}]}
    if row.final == "last choice":
        return {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
    return {"choices": [], "usage": usage}


def usage_of(row: Row, cached_name: str | None) -> dict[str, Any]:
    usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 50}
    if cached_name:
        usage[cached_name] = 40
    if row.charge not in ("", "?", "is_byok"):
        usage[row.charge] = 10**7 if row.charge == "cost_in_usd_ticks" else 0.001
    elif row.charge:
        usage["cost"] = 0.001
    return usage


@each_row("name", CHATS)
def test_cache_reads_stand_under_the_names_of_the_row_and_are_a_part_of_the_prompt(name: str) -> None:
    row = ROWS[name]
    for cached in (None, *row.cached):
        reading = reader("openai.chat", name).usage_only(usage_of(row, cached), Context(provider=name))
        read = 40 if cached else 0
        assert reading.usage.get("cache_read", 0) == read
        assert reading.usage["input"] == 100 - read
        assert (reading.provider_cost_usd is not None) == bool(row.charge)


@each_row("name", CHATS)
def test_reasoning_stands_where_the_row_says(name: str) -> None:
    row = ROWS[name]
    usage = usage_of(row, None) | {"completion_tokens_details": {"reasoning_tokens": 30}}
    reading = reader("openai.chat", name).usage_only(usage, Context(provider=name))
    assert reading.usage["reasoning"] == 30
    assert reading.usage["output"] == (20 if row.reasoning == "within" else 50)


@each_row("name", CHATS)
def test_cache_writes_of_unknown_life_have_the_unit_of_the_row(name: str) -> None:
    usage = usage_of(ROWS[name], None) | {"prompt_tokens_details": {"cache_write_tokens": 60}}
    reading = reader("openai.chat", name).usage_only(usage, Context(provider=name))
    assert reading.usage[ROWS[name].writes] == 60


@each_row("name", [name for name in CHATS if ROWS[name].final != "whole"])
def test_a_stream_of_the_host_is_read_to_its_final_count(name: str) -> None:
    """In bytes, as the relay reads it: counts before the final one are what had come by then."""
    row = ROWS[name]
    gate = StreamGate(reader("openai.chat", name), Context(provider=name), strip_usage=False, form=CHAT)
    text = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}], "usage": None}
    for payload in (text, placed(row, usage_of(row, None))):
        gate.feed(b"data: " + orjson.dumps(payload) + b"\n\n")
    assert gate.watch.so_far
    gate.feed(b"data: [DONE]\n\n")
    assert gate.watch.final
    reading = gate.watch.reading()
    assert (reading.usage["input"], reading.usage["output"]) == (100, 50)
