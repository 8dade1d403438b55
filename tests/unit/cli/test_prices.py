"""`taximeter prices`: show explains, check finds holes, diff and refresh rebuild from the sources."""

from __future__ import annotations

import datetime as dt
import errno
import importlib.metadata
import json
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pricing import load
from pricing.load import load_book, packaged_book
from pricing.report import holes
from proxy.cli import prices
from proxy.cli.prices import app
from proxy.config.without_file import local_prices, local_tree
from proxy.serve.local_model import MODEL_NAME

RUN = CliRunner()


@pytest.fixture(autouse=True)
def book_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command reads it for its one answer; here it is the same for all of them."""
    monkeypatch.setattr("proxy.cli.prices.load_book", packaged_book)


def test_show_says_which_row_wins_and_why() -> None:
    result = RUN.invoke(app, ["show", "gemini-4-argon", "--provider", "gemini", "--at", "2026-12-01"])
    assert result.exit_code == 0
    assert "google/gemini-4-argon" in result.output
    assert "input            $4/M           genai-prices" in result.output
    assert "from 2026-12-01" in result.output
    assert "until 2026-12-01: input $2/M" in result.output


def test_show_takes_the_names_that_it_prints_itself() -> None:
    for name in ("openai/gpt-4o-mini-audio-preview", "google/gemini-2.5-pro", "openrouter/openai/gpt-4o"):
        result = RUN.invoke(app, ["show", name])
        assert result.exit_code == 0
        assert result.output.splitlines()[0].split("  ")[0] == name


def test_show_names_what_it_does_not_know() -> None:
    result = RUN.invoke(app, ["show", "gpt-99-nova"])
    assert result.exit_code == 1
    assert "no price for it" in result.output
    assert RUN.invoke(app, ["show", "gpt-5", "--at", "soon"]).exit_code == 2


@pytest.mark.parametrize(
    "asked", [["smollm2-135m"], ["local"], ["llama.cpp/smollm2-135m"], ["smollm2-135m", "--provider", "llama.cpp"]]
)
def test_without_a_file_show_knows_the_price_of_the_embedded_model(asked: list[str]) -> None:
    result = RUN.invoke(app, ["show", *asked])
    assert result.exit_code == 0, result.output
    assert '"input": "0.10", "cache_read": "0.01", "output": "0.40"' in result.output
    assert "llama.cpp" not in RUN.invoke(app, ["show", "gpt-5"]).output


def test_what_show_says_of_the_embedded_model_is_what_serve_bills() -> None:
    served = local_tree("http://127.0.0.1:1/v1", MODEL_NAME, 2048, "sk-local")
    [billed] = served["prices"]
    assert [row | {"model": "*"} for row in local_prices(MODEL_NAME)] == [billed] * len(served["models"])
    assert [row["model"] for row in local_prices(MODEL_NAME)] == list(served["models"])


def test_check_finds_no_holes_today_and_some_when_the_book_has_aged() -> None:
    catalog = load_book().catalog
    assert holes(catalog, dt.date(2026, 11, 23)) == []
    kinds = {hole.kind for hole in holes(catalog, dt.date(2027, 3, 1))}
    assert kinds == {"expired schedule", "stale source"}


def test_a_misspelt_model_is_guessed_and_makers_come_first() -> None:
    assert "did you mean gpt-5?" in RUN.invoke(app, ["show", "gpt5"]).output
    assert RUN.invoke(app, ["show", "gpt-5"]).output.startswith("openai/gpt-5")


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


@pytest.mark.long
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


@pytest.mark.long
def test_a_refresh_that_breaks_off_leaves_the_old_book_whole(
    data: Path, litellm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads it meanwhile, or afterwards: half a book would leave calls without a price."""
    before = (data / "prices.jsonl").read_bytes()

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = RUN.invoke(app, ["refresh", "--litellm", str(litellm), "--yes"])

    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert (data / "prices.jsonl").read_bytes() == before
    assert not list(data.glob("*.new"))


@pytest.mark.long
def test_a_disagreement_that_nothing_settles_leaves_the_model_as_it_was(data: Path, litellm: Path) -> None:
    before = [
        line for line in (data / "prices.jsonl").read_bytes().splitlines() if b'"openai","model":"gpt-4o",' in line
    ]
    model = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 9e-6, "output_cost_per_token": 2e-6}
    newer = json.loads(litellm.read_text()) | {"gpt-4o": model}
    litellm.write_text(json.dumps(newer))
    shown = RUN.invoke(app, ["diff", "--litellm", str(litellm)])
    written = RUN.invoke(app, ["refresh", "--litellm", str(litellm), "--yes"])
    after = [
        line for line in (data / "prices.jsonl").read_bytes().splitlines() if b'"openai","model":"gpt-4o",' in line
    ]

    assert (shown.exit_code, written.exit_code) == (0, 0)
    assert "unsettled, stays as it is: openai/gpt-4o input: 2.5" in shown.output
    assert before == after != []
    assert b'"brand-new"' in (data / "prices.jsonl").read_bytes()


def fake_pip(monkeypatch: pytest.MonkeyPatch, wheel: str | None, content: str) -> list[list[str]]:
    """pip, as far as it is asked: puts a wheel into the folder, or fails."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if wheel is None:
            return subprocess.CompletedProcess(command, 1, "", "ERROR: no network\nERROR: No matching distribution")
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / wheel, "w") as made:
            made.writestr("litellm/model_prices_and_context_window_backup.json", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    known = importlib.metadata.distribution

    def but_litellm(name: str) -> importlib.metadata.Distribution:
        if name == "litellm":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr("proxy.cli.prices.subprocess.run", run)
    # It may be installed for translation, and would be taken.
    monkeypatch.setattr("importlib.metadata.distribution", but_litellm)
    return asked


def test_diff_alone_fetches_the_newest_list(data: Path, litellm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_pip(monkeypatch, "litellm-9.9.9-py3-none-any.whl", litellm.read_text())
    result = RUN.invoke(app, ["diff"])

    assert result.exit_code == 0
    assert '+ {"provider":"acme","model":"brand-new"' in result.output
    assert "litellm 9.9.9" in result.output
    assert asked[0][1:4] == ["-m", "pip", "download"]
    assert re.search(r"^In all: 1 models? with more rows or new, ", result.output, re.MULTILINE)


def rebuilt_of(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Any:
    before, after = (
        b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows) for rows in (old, new)
    )
    return prices._compared(before, after, ())


def test_a_newer_source_that_says_the_same_is_no_change() -> None:
    """Each of 4,000 rows was shown as changed by every release of a source, and what did change was lost among them; but what
    limits a call (`context_tokens`) is a change as a price is."""
    row: dict[str, Any] = {"provider": "p", "model": "m", "prices": {"input": "1"}, "source": "litellm 1.0"}
    row |= {"checked": "2026-11-01", "context_tokens": 1000}
    newer = row | {"source": "litellm 1.2.3", "checked": "2026-11-30"}
    larger, other = newer | {"context_tokens": 2000}, newer | {"model": "n"}

    same = rebuilt_of([row], [newer])
    assert (same.removed, same.added, same.is_old) == ([], [], False)
    assert same.summary().startswith("No price would change")
    assert rebuilt_of([row], [row]).summary() == "The price book is up to date."
    changed = rebuilt_of([row], [larger, other])
    assert [json.loads(line) for line in (*changed.removed, *changed.added)] == [row, larger, other]
    assert changed.summary() == "In all: 1 models with more rows or new, 1 with changed ones, 0 with fewer."
    assert rebuilt_of([row, other], [newer]).summary().endswith("1 with fewer.")


def test_diff_without_a_network_says_what_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, None, "")
    result = RUN.invoke(app, ["diff"])

    assert result.exit_code == 2
    assert "No matching distribution" in result.output
    assert "--litellm" in result.output


@pytest.mark.parametrize("content", ["", "{", "[]", "not a wheel"])
def test_a_list_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    for name in ("list.json", "litellm-1-py3-none-any.whl"):
        file = tmp_path / name
        file.write_text(content)
        result = RUN.invoke(app, ["diff", "--litellm", str(file)])
        assert (result.exit_code, result.exception.__class__) == (2, SystemExit), (name, content)
        assert result.output.startswith("error: ")
