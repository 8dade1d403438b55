"""`taximeter prices`: show explains, check finds holes, diff and refresh rebuild from the sources."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pricing import load
from pricing.load import load_book
from pricing.report import holes
from proxy.cli.prices import app

RUN = CliRunner()


def test_show_says_which_row_wins_and_why() -> None:
    result = RUN.invoke(app, ["show", "gemini-4-argon", "--provider", "gemini", "--at", "2026-12-01"])
    assert result.exit_code == 0
    assert "google/gemini-4-argon" in result.output
    assert "input            $4/M           genai-prices" in result.output
    assert "from 2026-12-01" in result.output
    assert "until 2026-12-01: input $2/M" in result.output


def test_show_names_what_it_does_not_know() -> None:
    result = RUN.invoke(app, ["show", "gpt-99-nova"])
    assert result.exit_code == 1
    assert "no price for it" in result.output
    assert RUN.invoke(app, ["show", "gpt-5", "--at", "soon"]).exit_code == 2


def test_check_finds_no_holes_today_and_some_when_the_book_has_aged() -> None:
    catalog = load_book().catalog
    assert holes(catalog, dt.date(2026, 11, 23)) == []
    kinds = {hole.kind for hole in holes(catalog, dt.date(2027, 3, 1))}
    assert kinds == {"expired schedule", "stale source"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the book's files to write to."""
    for file in load.DATA.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(load, "DATA", tmp_path)
    monkeypatch.setattr("pricing.build.DATA", tmp_path)
    return tmp_path


@pytest.fixture
def litellm(tmp_path: Path) -> Path:
    """A newer data file of LiteLLM's with one model more."""
    file = tmp_path / "litellm.json"
    model = {"litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
    file.write_text(json.dumps({"acme/brand-new": model}))
    return file


def test_refresh_shows_the_difference_and_asks_before_it_writes(data: Path, litellm: Path) -> None:
    before = (data / "prices.jsonl").read_bytes()
    result = RUN.invoke(app, ["refresh", "--litellm", str(litellm)])
    assert result.exit_code == 1
    assert '+ {"provider":"acme","model":"brand-new","prices":{"input":"1","output":"2"}' in result.output
    assert (data / "prices.jsonl").read_bytes() == before

    result = RUN.invoke(app, ["refresh", "--litellm", str(litellm), "--yes"])
    assert result.exit_code == 0
    assert b'"brand-new"' in (data / "prices.jsonl").read_bytes()
    # what the newer source dropped is kept: old calls must keep their price
    assert b'"provider":"replicate","model":"meta/llama-2-70b-chat"' in (data / "prices.jsonl").read_bytes()


def test_a_disagreement_that_nothing_settles_stops_the_rebuild(data: Path, litellm: Path) -> None:
    model = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 9e-6, "output_cost_per_token": 2e-6}
    litellm.write_text(json.dumps({"gpt-4o": model}))
    result = RUN.invoke(app, ["diff", "--litellm", str(litellm)])
    assert result.exit_code == 1
    assert "unsettled: openai/gpt-4o input: 2.5" in result.output


def test_diff_without_sources_says_what_to_name() -> None:
    result = RUN.invoke(app, ["diff"])
    assert result.exit_code == 2
    assert "--litellm" in result.output
