"""A move from LiteLLM: its YAML, its database, its keys by hash; what has no counterpart is said."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.config.checks import load_config
from proxy.config.from_litellm import TABLES, moved

FILES = Path(__file__).parents[2] / "fixtures" / "litellm"
VARIABLES = dict.fromkeys(
    ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "GROQ_API_KEY", "LITELLM_MASTER_KEY"),
    "sk-made-up-for-a-test",
)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def bring(out: Path, *more: str) -> Any:
    return CliRunner().invoke(
        app, ["import", "litellm", "--config", str(FILES / "config.yaml"), "--out", str(out), *more]
    )


def of_key(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def test_the_yaml_becomes_upstreams_models_and_a_budget(tmp_path: Path) -> None:
    done = bring(tmp_path / "taximeter.yaml")

    assert done.exit_code == 0, done.stderr
    made = yaml.safe_load((tmp_path / "taximeter.yaml").read_text())
    assert made == {
        "server": {"admin_key": "${LITELLM_MASTER_KEY}"},
        "upstreams": {
            "openai": {"provider": "openai", "base_url": "https://api.openai.com/v1", "api_key": "${OPENAI_API_KEY}"},
            "anthropic": {"provider": "anthropic", "base_url": "https://api.anthropic.com", "api_key": "${ANTHROPIC_API_KEY}"},
            "openrouter": {"provider": "openrouter", "base_url": "https://openrouter.ai/api/v1", "api_key": "${OPENROUTER_API_KEY}"},
            "vllm": {"provider": "vllm", "base_url": "http://127.0.0.1:8000/v1"},
            "groq": {"provider": "groq", "base_url": "https://api.groq.com/openai/v1", "api_key": "${GROQ_API_KEY}"},
        },
        "models": {
            "gpt-5": {"upstream": "openai", "fallbacks": ["claude"], "retries": 2},
            "claude": {"upstream": "anthropic", "model": "claude-haiku-4-5", "fallbacks": ["claude.2"], "retries": 2},
            "claude.2": {"upstream": "openrouter", "model": "anthropic/claude-haiku-4.5", "retries": 2},
            "house": {"upstream": "vllm", "model": "Qwen3-8B", "retries": 2},
            "groq-*": {"upstream": "groq", "model": "*", "retries": 2},
        },
        "budgets": [{"name": "all", "limit_usd": "1000", "window": "month"}],
    }  # fmt: skip
    left = done.stderr.splitlines()
    assert "not taken: model_list[0]: gpt-5: litellm_params.rpm" in left
    assert any("sagemaker/endpoint" in line for line in left)
    assert any("gone" in line for line in left)
    for name in ("litellm_settings.drop_params", "general_settings.database_url", "environment_variables"):
        assert f"not taken: {name}" in left
    assert stat.S_IMODE((tmp_path / "taximeter.yaml").stat().st_mode) == 0o600


def check_moved(made: dict[str, Any], left: str) -> None:
    keys = made["keys"]
    assert keys[:2] == [
        {"name": "checkout", "key_sha256": of_key("sk-first"), "team": "search", "user": "ida", "models": ["gpt-5"], "expires": "2027-01-31T12:00:00"},
        {"name": f"checkout-{of_key('sk-second')[:8]}", "key_sha256": of_key("sk-second"), "team": "search", "models": ["gpt-5", "claude"]},
    ]  # fmt: skip
    assert [key["key_sha256"] for key in keys[2:]] == [of_key("sk-fifth")]
    budgets = {budget.pop("name"): budget for budget in made["budgets"]}
    second = f"key checkout-{of_key('sk-second')[:8]}"
    assert budgets == {
        "all": {"limit_usd": "1000", "window": "month"},
        "key checkout": {"match": {"key": "checkout"}, "limit_usd": "10", "window": "hour"},
        second: {"match": {"key": second[4:]}, "limit_usd": "5", "window": "day"},
        f"{second} rpm_limit": {"match": {"key": second[4:]}, "limit_requests": 60, "window": "minute"},
        "team search": {"match": {"team": "search"}, "limit_usd": "250.5", "window": "month"},
        "team search tpm_limit": {"match": {"team": "search"}, "limit_tokens": 100000, "window": "minute"},
        "user ida": {"match": {"user": "ida"}, "limit_usd": "20", "window": "week"},
        "customer acme": {"match": {"customer": "acme"}, "limit_usd": "5", "window": "day"},
        "customer acme rpm_limit": {"match": {"customer": "acme"}, "limit_requests": 60, "window": "minute"},
    }  # fmt: skip
    for said in (
        "key sk-...hird: is blocked", "key sk-...urth: is blocked", "user tom: max_budget 30", "14d: there is no such window",
        "team search: spend so far 12.25 USD", "key checkout: spend so far 1.5 USD", f"{second}: aliases",
        "key checkout: max_parallel_requests 4", "team t-2 is blocked",
    ):  # fmt: skip
        assert said in left, said


def test_a_dump_brings_keys_teams_users_and_budgets(tmp_path: Path) -> None:
    out = tmp_path / "taximeter.yaml"

    done = bring(out, "--dump", str(FILES / "dump.sql"))

    assert done.exit_code == 0, done.stderr
    check_moved(yaml.safe_load(out.read_text()), done.stderr)
    config, _ = load_config(out, VARIABLES)
    assert {key.name for key in config.keys} >= {"checkout"}


def test_a_database_brings_the_same(tmp_path: Path) -> None:
    """SQLite has its own types for what PostgreSQL gives; the rows are those of the dump."""
    url = f"sqlite:///{tmp_path}/litellm.db"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for block in (FILES / "dump.sql").read_text().split("COPY public.")[1:]:
            head, _, rest = block.partition("\n")
            table, _, columns = head.removesuffix(" FROM stdin;").partition(" ")
            connection.exec_driver_sql(f"CREATE TABLE {table} {columns}")
            for line in rest.split("\n\\.")[0].split("\n"):
                cells = [None if cell == "\\N" else {"t": 1, "f": 0}.get(cell, cell) for cell in line.split("\t")]
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({','.join('?' * len(cells))})", tuple(cells))
    engine.dispose()
    out = tmp_path / "taximeter.yaml"

    done = bring(out, "--database", url)

    assert done.exit_code == 0, done.stderr
    made = yaml.safe_load(out.read_text())
    check_moved(made, done.stderr)


def test_rows_as_postgresql_gives_them() -> None:
    """Lists and numbers, not their text."""
    made, left = moved({}, {
        "keys": [{"token": "A" * 64, "key_alias": "k", "models": ["a"], "max_budget": 0.1, "budget_duration": "1mo", "rpm_limit": 5}],
    })  # fmt: skip

    assert made == {
        "keys": [{"name": "k", "key_sha256": "a" * 64, "models": ["a"]}],
        "budgets": [
            {"name": "key k", "match": {"key": "k"}, "limit_usd": "0.1", "window": "month"},
            {"name": "key k rpm_limit", "match": {"key": "k"}, "limit_requests": 5, "window": "minute"},
        ],
    }  # fmt: skip
    assert len(left) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--dump", str(FILES / "config.yaml")), "has no table of LiteLLM"),
        (("--database", "postgresql://127.0.0.1:1/x"), "LiteLLM's database cannot be read: OperationalError"),
        (("--database", "x", "--dump", str(FILES / "dump.sql")), "not both"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    done = bring(tmp_path / "out.yaml", *more)

    assert done.exit_code in (1, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert said in done.stderr
    assert not (tmp_path / "out.yaml").exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "taximeter.yaml"
    out.write_text("mine")

    assert bring(out).exit_code == 2
    assert out.read_text() == "mine"


def test_tables_as_json(tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({TABLES["keys"]: [{"token": of_key("sk-x"), "key_alias": "x"}]}))

    assert bring(tmp_path / "taximeter.yaml", "--dump", str(dump)).exit_code == 0
    assert of_key("sk-x") in (tmp_path / "taximeter.yaml").read_text()
