"""The packaged book: that it is whole, what it is known to say, that it loads fast, and that it can be rebuilt."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from pricing.book import Book
from pricing.catalog import parse_price, price_text, row_of
from pricing.load import DATA, checked_at, load_book, packaged_book
from pricing.merge import Merger
from pricing.sources.offer import Offer
from pricing.units import UNITS
from tests.support.prices import at, price
from tests.support.rows import each_row

BOOK = load_book()
LINES = [orjson.loads(line) for line in (DATA / "prices.jsonl").read_bytes().splitlines()]


def _book_of(folder: Path, prices: bytes) -> Book:
    for part in ("schedules", "multipliers", "aliases"):
        (folder / f"{part}.toml").write_bytes((DATA / f"{part}.toml").read_bytes())
    (folder / "prices.jsonl").write_bytes(prices)
    return load_book(folder)


def test_a_providers_lines_are_found_wherever_they_stand(tmp_path: Path) -> None:
    lines = [b'{"provider":"%s","n":%d}' % row for row in ((b"a", 1), (b"ab", 2), (b"ab", 3), (b"a", 4), (b"b", 5))]
    book = _book_of(tmp_path, b"\n".join([*lines[:2], b"", *lines[2:]]))

    assert {name: [orjson.loads(line)["n"] for line in of] for name, of in book.catalog.lines.items()} == {
        "a": [1, 4], "ab": [2, 3], "b": [5],
    }  # fmt: skip
    assert "c" not in book.catalog.lines
    assert _book_of(tmp_path, b"").catalog.lines == {}


@pytest.mark.parametrize(
    "broken", [b'{"model":"x"}\n', b'{"provider":"a"}\nnoise\n', b'noise\n{"provider":"a"}\n', b"\x00"]
)
def test_what_belongs_to_no_provider_is_an_error(tmp_path: Path, broken: bytes) -> None:
    with pytest.raises(ValueError, match="is not a complete row of a provider"):
        _book_of(tmp_path, broken)


def test_how_old_a_book_is_it_says_itself_whatever_is_written_since(tmp_path: Path) -> None:
    """`prices refresh` may write another, which a server takes when it is restarted."""
    row = b'{"provider":"a","model":"m","prices":{"input":"1"},"source":"s","checked":"%s"}\n'
    old = _book_of(tmp_path, row % b"2026-01-05" + row % b"2026-01-02")
    new = _book_of(tmp_path, row % b"2026-11-29")

    assert [checked_at(old), checked_at(new), checked_at(_book_of(tmp_path, b""))] == [1_767_571_200, 1_795_910_400, 0]


def test_the_book_is_read_once_for_all_processes() -> None:
    assert packaged_book() is packaged_book()
    assert packaged_book().version == BOOK.version


def test_every_row_can_be_read_and_says_where_it_is_from_and_when_it_was_checked() -> None:
    for line in LINES:
        row = row_of(line)
        assert row.source
        assert "2025-01-01" < row.checked <= "2100-01-01"
        assert row.from_s < row.to_s
        assert row.prices or row.tiers
        assert row.prices.keys() <= UNITS.keys()
        for clock in row.when.get("clock", ()):
            assert clock in BOOK.catalog.schedules


def test_no_two_rows_price_a_unit_of_the_same_kind_at_the_same_time() -> None:
    seen: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for line in LINES:
        row = row_of(line)
        for unit in row.prices:
            key = (row.provider, row.model, tuple(sorted(row.when.items())), unit)
            for start, end in seen.setdefault(key, []):
                assert row.to_s <= start or end <= row.from_s, f"{key} twice"
            seen[key].append((row.from_s, row.to_s))


def test_every_correction_says_why_from_where_and_when() -> None:
    raw = tomllib.loads((DATA / "corrections.toml").read_text())
    for entry in [*raw["price"], *raw["settled"]]:
        assert entry["why"]
        assert entry["source"]
        assert entry["checked"]


@pytest.mark.parametrize("text", ["2.5", "0.006/60", "0.111/3600>=10", "0"])
def test_prices_are_written_as_they_are_read(text: str) -> None:
    assert price_text(parse_price(text, "audio_second"), "audio_second") == text


def test_only_the_providers_that_are_asked_for_are_parsed() -> None:
    """A start would cost ten times as much otherwise."""
    parsed: list[bytes] = []

    def parse(line: bytes) -> object:
        parsed.append(line)
        return orjson.loads(line)

    catalog = replace(load_book().catalog, parse=parse, _providers={})
    catalog.provider("groq")
    assert parsed == catalog.lines["groq"]


KNOWN = [
    # provider, model, unit, USD for a million (tokens) or for one, moment, conditions
    ("google", "gemini-4-argon", "input", "2", "2026-11-30T23:59:59", {}),
    ("google", "gemini-4-argon", "input", "4", "2026-12-01", {}),
    ("google", "gemini-4-argon", "output", "20", "2026-12-01", {}),
    ("google", "gemini-4-argon", "input", "2", "2026-12-01", {"processing": "batch"}),
    ("google", "gemini-4-argon", "input", "7.2", "2026-12-01", {"service_tier": "priority"}),
    ("google-vertex", "gemini-4-argon", "input", "4.4", "2026-12-01", {"vertex_location": "europe-west4"}),
    ("google", "gemini-3.8-flash", "input", "0.75", "2026-12-31T23:59:59", {}),
    ("google", "gemini-3.8-flash", "input", "1.5", "2027-01-01", {}),
    ("google", "gemini-2.5-pro", "cache_read", "0.125", "2026-11-23", {"processing": "batch"}),
    ("openai", "gpt-5.6-sol", "input", "5", "2026-08-20T23:59:59", {}),
    ("openai", "gpt-5.6-sol", "input", "4", "2026-08-21", {}),
    ("openai", "gpt-5.6-sol", "cache_write_1h", "12.5", "2026-08-20", {}),
    ("openai", "gpt-5.6-luna", "input", "0.2", "2026-07-30", {}),
    ("openai", "o3", "output", "40", "2025-06-09", {}),
    ("openai", "gpt-4.1", "cache_read", "0.5", "2026-11-23", {"processing": "batch"}),
    ("openai", "gpt-5.5", "input", "12.5", "2026-11-23", {"service_tier": "priority"}),
    ("openai", "gpt-6-astra", "output", "300", "2026-11-23", {"service_tier": "ultrafast"}),
    ("openai", "gpt-5.4", "input", "2.75", "2026-11-23", {"base_url": "https://eu.api.openai.com/v1"}),
    ("openai", "gpt-4o", "input", "2.5", "2026-11-23", {"base_url": "https://eu.api.openai.com/v1"}),
    ("openai", "gpt-4o-transcribe", "audio_in", "6", "2026-11-23", {}),
    ("openai", "sora-2-pro", "video_second", "0.5", "2026-11-23", {"size": "1024x1792"}),
    ("openai", "sora-2-pro", "video_second", "0.3", "2026-11-23", {"size": "1280x720"}),
    ("openai", "dall-e-3", "image", "0.04", "2025-06-01", {}),
    ("openai", "dall-e-3", "image", "0.12", "2025-06-01", {"quality": "hd", "size": "1792x1024"}),
    ("openai", "ft:gpt-4o-mini-2024-07-18:acme::AbC123", "output", "1.2", "2026-11-23", {}),
    ("anthropic", "claude-opus-5-5", "input", "8.8", "2026-11-23", {"speed": "fast", "geo": "us"}),
    ("anthropic", "claude-opus-5-5", "cache_read", "0.2", "2026-11-23", {}),
    ("anthropic", "claude-sonnet-4-5-20250929", "input", "3", "2026-11-23", {"geo": "us"}),
    ("deepseek", "deepseek-v4-pro", "input", "1.32", "2026-11-23T02:30:00", {}),
    ("deepseek", "deepseek-v4-pro", "input", "0.66", "2026-11-22T02:30:00", {}),
    ("deepseek", "deepseek-v4-pro", "input", "0.66", "2026-10-01T02:30:00", {}),
    ("deepseek", "deepseek-v4-pro", "input", "0.435", "2026-08-16T15:59:59", {}),
    ("deepseek", "deepseek-chat", "input", "0.135", "2025-06-15T20:00:00", {}),
    ("deepseek", "deepseek-reasoner", "output", "0.55", "2025-06-15T00:29:59", {}),
    ("dashscope", "deepseek-v4-flash-0731", "input", "0.22", "2026-11-23T14:00:00", {}),
    ("dashscope", "qwen-plus", "reasoning", "4", "2026-11-23", {}),
    ("xai", "grok-4.20", "output", "6", "2026-04-29", {}),
    ("xai", "grok-4.20", "output", "2", "2026-11-23", {"processing": "batch"}),
    ("mistral", "mistral-large-latest", "input", "0.55", "2026-11-23", {"base_url": "https://api.eu.mistral.ai"}),
    ("mistral", "mistral-large-latest", "input", "0.875", "2026-11-23", {"service_tier": "priority"}),
    ("mistral", "codestral-latest", "cache_read", "0.03", "2026-11-23", {}),
    ("mistral", "mistral-large-4", "input", "1.36", "2026-10-25", {}),
    ("aws", "us.amazon.nova-2-lite-v1:0", "input", "0.33", "2026-11-23", {}),
    ("aws", "global.anthropic.claude-opus-5", "input", "5", "2026-11-23", {}),
    ("aws", "us.anthropic.claude-opus-5", "input", "5.5", "2026-11-23", {}),
    ("azure", "gpt-5.4", "output", "16.5", "2026-11-23", {"deployment_type": "DataZoneStandard", "zone": "eu"}),
    ("azure", "gpt-5.4", "output", "15", "2026-11-23", {"deployment_type": "GlobalStandard"}),
    ("azure", "gpt-4o-audio-preview-2024-12-17", "audio_out", "80", "2026-11-23", {}),
    ("azure", "gpt-4o-mini-audio-preview-2024-12-17", "audio_in", "10", "2026-11-23", {}),
    ("azure", "gpt-audio", "audio_in", "40", "2026-11-23", {}),
    ("azure", "gpt-5.2", "web_search", "0.014", "2026-11-23", {}),
    ("google-vertex", "claude-opus-5-5", "web_search", "0.01", "2026-11-23", {}),
    ("openrouter", "google/gemini-2.5-flash", "audio_in", "1", "2026-11-23", {}),
    ("openrouter", "openai/gpt-audio", "audio_out", "64", "2026-11-23", {}),
    ("openrouter", "anthropic/claude-opus-5.5", "cache_write_1h", "8", "2026-11-23", {}),
    ("perplexity", "anthropic/claude-sonnet-5", "cache_write_5m", "2.5", "2026-11-23", {}),
    ("oci", "google.gemini-2.5-flash", "audio_in", "0.5", "2026-11-23", {}),
    ("perplexity", "sonar-deep-research", "reasoning", "3", "2026-06-01", {}),
    ("openrouter", "openai/gpt-5.6-sol", "input", "5", "2026-08-01", {}),
    ("openrouter", "meta-llama/llama-3.3-70b-instruct:free", "input", "0", "2026-11-23", {}),
    ("bedrock", "global.anthropic.claude-opus-5", "input", "5", "2026-11-23", {}),
    ("x-ai", "grok-4.20", "input", "1.25", "2026-11-23", {}),
]


@each_row(("provider", "model", "unit", "usd", "moment", "conditions"), KNOWN)
def test_known_prices(provider: str, model: str, unit: str, usd: str, moment: str, conditions: dict[str, str]) -> None:
    # a hundredth of a million, so that no long-context tier is reached
    quantity, factor = (10_000, 100) if UNITS[unit].kind == "token" else (1, 1)
    cost = price(BOOK, {unit: quantity}, provider=provider, model=model, moment=moment, **conditions)
    assert cost.cost_usd is not None
    assert cost.cost_usd * factor == Decimal(usd)


@pytest.mark.parametrize(
    ("provider", "model", "tokens", "usd"),
    [
        ("openai", "gpt-5.4", 272_000, "2.5"),
        ("openai", "gpt-5.4", 272_001, "5"),
        ("xai", "grok-4.20", 199_999, "1.25"),
        ("xai", "grok-4.20", 200_000, "2.5"),
        ("anthropic", "claude-haiku-5-5", 100_000, "0.1"),
        ("anthropic", "claude-haiku-5-5", 100_001, "0.5"),
        ("google", "gemini-2.5-pro", 200_000, "1.25"),
        ("google", "gemini-2.5-pro", 200_001, "2.5"),
        ("minimax", "MiniMax-M3", 512_001, "0.6"),
        ("dashscope", "qwen3-max", 32_001, "2.4"),
    ],
)
def test_long_context(provider: str, model: str, tokens: int, usd: str) -> None:
    assert price(BOOK, {"input": tokens}, provider=provider, model=model).lines[0].price_usd == Decimal(usd)


DEARER = {"audio_in": "input", "image_in": "input", "video_in": "input",
         "audio_out": "output", "image_out": "output", "video_out": "output", "cache_write_5m": "input", "cache_write_1h": "input"}  # fmt: skip


def test_nothing_of_a_resold_model_is_silently_as_cheap_as_its_text() -> None:
    """A unit without a price takes the text's, whatever the model's maker takes for it."""
    units: dict[tuple[str, str], set[str]] = {}
    for line in LINES:
        if "when" not in line and line.get("to", "9") > "2026-11-23" and not line["source"].endswith("derived"):
            units.setdefault((line["provider"], line["model"]), set()).update(line["prices"])
    compared = 0
    for (provider, model), own in units.items():
        maker, _, name = model.partition("/")
        for unit, text in DEARER.items():
            of_one_maker = maker in ("openai", "anthropic", "google", "cohere")  # others' weights anybody may host
            if of_one_maker and unit in units.get((maker, name), ()) and text in own and unit not in own:
                made = [price(BOOK, {one: 1000}, provider=maker, model=name).cost_usd for one in (unit, text)]
                sold = [price(BOOK, {one: 1000}, provider=provider, model=model).cost_usd for one in (unit, text)]
                assert made[0] is not None
                assert made[1] is not None
                assert sold[0] is not None
                assert sold[1] is not None
                dearer = made[0] > made[1] and sold[1] > 0
                assert not dearer or sold[0] > sold[1], f"{provider} {model} {unit}"
                compared += dearer
    assert compared > 20


def test_a_price_in_a_second_row_of_the_same_date_is_not_lost() -> None:
    rows = [
        row_of({"provider": "acme", "model": "m", "prices": prices, "source": "s", "checked": "2026-11-23"})
        for prices in ({"input": "1", "output": "2"}, {"audio_in": "40", "input": "9"})
    ]
    merger = Merger([], at("2026-11-23"))
    merger.add([Offer("acme", "m", rows=rows)])
    kept = {unit: str(one.usd) for row in merger.offers["acme", "m"].rows for unit, one in row.prices.items()}
    assert kept == {"input": "1", "output": "2", "audio_in": "40"}


def test_an_unknown_model_is_not_mistaken_for_a_known_one() -> None:
    for provider, model in (
        ("openai", "gpt-99-nova"),
        ("anthropic", "claude-opus-9"),
        ("google", "gemini-9-pro"),
        ("acme", "m"),
    ):
        assert not BOOK.is_priced(provider, model, at("2026-11-23"))


def test_what_is_spoken_in_sessions_says_how_long_an_answer_may_be() -> None:
    """Else each turn is reserved for as much sound as its whole context."""
    spoken = {
        (line["provider"], line["model"])
        for line in LINES
        if line["provider"] in ("openai", "azure") and "realtime" in line["model"] and "audio_out" in line["prices"]
    }
    assert ("openai", "gpt-4o-realtime-preview") in spoken
    assert [one for one in spoken if BOOK.limits(*one).max_output_tokens is None] == []
    assert BOOK.limits("openai", "gpt-4o-realtime-preview-2025-06-03").max_output_tokens == 4096


def test_limits() -> None:
    assert BOOK.limits("openai", "gpt-4o-mini-2024-07-18") == (128_000, 16_384)
    assert BOOK.limits("acme", "m") == (None, None)
