"""A move from LiteLLM: its YAML, its database, its keys by hash; what has no counterpart is said."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from typer.testing import CliRunner

from proxy.cli.main import app
from proxy.config.checks import load_config
from proxy.config.from_litellm import TABLES, convert
from tests.support.rows import each_row

AT = datetime(2026, 11, 29, 6, tzinfo=UTC)
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


def test_azures_deployments_keep_their_version_and_are_priced_as_their_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.config.translation._has", lambda _: True)  # LiteLLM, which need not be here
    here = {
        "api_base": "https://a.openai.azure.com",
        "api_key": "os.environ/OPENAI_API_KEY",
        "api_version": "2024-10-21",
    }
    rows = [
        ("mini", {**here, "model": "azure/our-mini"}, {"base_model": "azure/gpt-5-mini"}),
        ("nano", {**here, "model": "azure/our-nano"}, {"base_model": "gpt-5-nano"}),
        ("again", {**here, "model": "azure/gpt-5-mini"}, {}),
        ("zone", {**here, "model": "azure/our-zone"}, {"base_model": "azure/eu/gpt-5"}),
        ("newer", {**here, "model": "azure/gpt-5", "api_base": "https://b.openai.azure.com/openai/v1/"}, {}),
    ]
    file, out = tmp_path / "config.yaml", tmp_path / "taximeter.yaml"
    listed = [{"model_name": name, "litellm_params": params, "model_info": info} for name, params, info in rows]
    file.write_text(yaml.safe_dump({"model_list": listed}))
    done = CliRunner().invoke(app, ["import", "litellm", "--config", str(file), "--out", str(out)])

    assert done.exit_code == 0, done.stderr
    made = yaml.safe_load(out.read_text())
    first = {
        "provider": "azure", "base_url": "https://a.openai.azure.com", "api_key": "${OPENAI_API_KEY}", "via": "litellm",
        "params": {
            "api_version": "2024-10-21",
            "deployments": {"gpt-5-mini": "our-mini", "gpt-5-nano": "our-nano", "gpt-5": "our-zone"},
        },
    }  # fmt: skip
    newer = {"base_url": "https://b.openai.azure.com/openai/v1/", "provider": "azure", "api_key": "${OPENAI_API_KEY}"}
    same = first | {"params": {"api_version": "2024-10-21", "deployments": {"gpt-5-mini": "gpt-5-mini"}}}
    assert made["upstreams"] == {"azure": first, "azure-2": same, "azure-3": newer}
    assert made["models"] == {
        "mini": {"upstream": "azure", "model": "gpt-5-mini"}, "nano": {"upstream": "azure", "model": "gpt-5-nano"},
        "again": {"upstream": "azure-2", "model": "gpt-5-mini"}, "zone": {"upstream": "azure", "model": "gpt-5"},
        "newer": {"upstream": "azure-3", "model": "gpt-5"},
    }  # fmt: skip
    assert "api_version" not in done.stderr
    assert "params.zone" in done.stderr


def test_bedrock_and_vertex_go_through_the_translator_with_what_litellm_was_told_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.config.translation._has", lambda _: True)  # LiteLLM, which need not be here
    for name in ("AWS_KEY", "PROJECT"):
        monkeypatch.setenv(name, "x")
    haiku, arn = "anthropic.claude-haiku-4-5-20251001-v1:0", "arn:aws:bedrock:eu-west-1:1:inference-profile/x"
    rows = [
        ("a", {"model": f"bedrock/{haiku}", "aws_region_name": "us-east-1", "aws_access_key_id": "os.environ/AWS_KEY"}),
        ("b", {"model": f"bedrock/converse/{haiku}", "aws_region_name": "us-east-1", "aws_access_key_id": "os.environ/AWS_KEY"}),
        ("c", {"model": f"bedrock/invoke/{haiku}"}),
        ("d", {"model": f"bedrock/eu-west-1/{haiku}"}),
        ("e", {"model": f"bedrock/{arn}"}),
        ("f", {"model": "vertex_ai/gemini-2.5-flash", "vertex_project": "os.environ/PROJECT", "vertex_location": "europe-west4"}),
        ("g", {"model": "text-embedding-3-small", "api_key": "os.environ/PROJECT"}),
    ]  # fmt: skip
    file, out = tmp_path / "config.yaml", tmp_path / "taximeter.yaml"
    file.write_text(
        yaml.safe_dump({"model_list": [{"model_name": name, "litellm_params": params} for name, params in rows]})
    )
    done = CliRunner().invoke(app, ["import", "litellm", "--config", str(file), "--out", str(out)])

    assert (done.exit_code, done.stderr) == (0, "")
    made = yaml.safe_load(out.read_text())
    aws = {"provider": "aws", "via": "litellm"}
    assert made["upstreams"] == {
        "aws": aws | {"params": {"aws_region_name": "us-east-1", "aws_access_key_id": "${AWS_KEY}"}},
        "aws-2": aws | {"params": {"route": "invoke"}},
        "aws-3": aws | {"params": {"aws_region_name": "eu-west-1"}},
        "aws-4": aws | {"params": {}},
        "google-vertex": {"provider": "google-vertex", "via": "litellm", "params": {"vertex_project": "${PROJECT}", "vertex_location": "europe-west4"}},
        "openai": {"provider": "openai", "base_url": "https://api.openai.com/v1", "api_key": "${PROJECT}"},
    }  # fmt: skip
    assert [(row["upstream"], row["model"]) for row in made["models"].values()] == [
        ("aws", haiku), ("aws", haiku), ("aws-2", haiku), ("aws-3", haiku), ("aws-4", arn),
        ("google-vertex", "gemini-2.5-flash"), ("openai", "text-embedding-3-small"),
    ]  # fmt: skip


def check_moved(made: dict[str, Any], left: str) -> None:
    keys = made["keys"]
    assert keys[:2] == [
        {"name": "checkout", "key_sha256": of_key("sk-first"), "team": "search", "user": "ida", "models": ["gpt-5"], "expires": "2027-01-31T12:00:00+00:00"},
        {"name": f"checkout-{of_key('sk-second')[:8]}", "key_sha256": of_key("sk-second"), "team": "search", "models": ["gpt-5", "claude"]},
    ]  # fmt: skip
    assert [key["key_sha256"] for key in keys[2:]] == [of_key("sk-fifth")]
    budgets = {budget.pop("name"): budget for budget in made["budgets"]}
    for budget in budgets.values():
        if "opening" in budget:
            budget["opening"] = budget["opening"]["usd"]
    second = f"key checkout-{of_key('sk-second')[:8]}"
    assert budgets == {
        "all": {"limit_usd": "1000", "window": "month"},
        "key checkout": {"match": {"key": "checkout"}, "limit_usd": "10", "window": "hour", "opening": "1.5"},
        second: {"match": {"key": second[4:]}, "limit_usd": "5", "window": "day"},
        f"{second} rpm_limit": {"match": {"key": second[4:]}, "limit_requests": 60, "window": "minute"},
        "team search": {"match": {"team": "search"}, "limit_usd": "250.5", "window": "month", "opening": "12.25"},
        "team search tpm_limit": {"match": {"team": "search"}, "limit_tokens": 100000, "window": "minute"},
        "user ida": {"match": {"user": "ida"}, "limit_usd": "20", "window": "week"},
        "customer acme": {"match": {"customer": "acme"}, "limit_usd": "5", "window": "day"},
        "customer acme rpm_limit": {"match": {"customer": "acme"}, "limit_requests": 60, "window": "minute"},
    }  # fmt: skip
    for said in (
        "key sk-...hird: is blocked", "key sk-...urth: is blocked", "user tom: 30 USD for 14d: there is no such window",
        f"{second}: aliases", "customer acme: its budget counts calls of keys",
        "key checkout: max_parallel_requests 4", "team t-2 is blocked",
    ):  # fmt: skip
        assert said in left, said


def test_a_dump_brings_keys_teams_users_and_budgets(tmp_path: Path) -> None:
    out = tmp_path / "taximeter.yaml"

    done = bring(out, "--dump", str(FILES / "dump.sql"))

    assert done.exit_code == 0, done.stderr
    check_moved(yaml.safe_load(out.read_text()), done.stderr)
    config, *_ = load_config(out, VARIABLES)
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
    made, left = convert({}, {
        "keys": [{"token": "A" * 64, "key_alias": "k", "models": ["a"], "max_budget": 0.1, "budget_duration": "1mo", "rpm_limit": 5}],
    }, AT)  # fmt: skip

    assert made == {
        "keys": [{"name": "k", "key_sha256": "a" * 64, "models": ["a"]}],
        "budgets": [
            {"name": "key k", "match": {"key": "k"}, "limit_usd": "0.1", "window": "month"},
            {"name": "key k rpm_limit", "match": {"key": "k"}, "limit_requests": 5, "window": "minute"},
        ],
    }  # fmt: skip
    assert left == []


def budgets_of(**tables: Any) -> dict[str, dict[str, Any]]:
    made, _ = convert({}, tables, AT)
    return {budget["name"]: budget for budget in made.get("budgets", ())}


@each_row(
    ("duration", "window"),
    [
        (None, "total"), ("60s", "minute"), ("1m", "minute"), ("60m", "hour"), ("hourly", "hour"), ("24h", "day"),
        ("1d", "day"), ("daily", "day"), ("7d", "week"), ("1w", "week"), ("weekly", "week"), ("30d", "month"),
        ("monthly", "month"), ("1mo", "month"), ("31d", "month"), ("2mo", None), ("14d", None), ("2h", None), ("soon", None),
    ],
)  # fmt: skip
def test_the_window_of_each_duration(duration: str | None, window: str | None) -> None:
    row = {"user_id": "ida", "max_budget": 1.0, "budget_duration": duration}

    assert budgets_of(users=[row]).get("user ida", {}).get("window") == window


@pytest.mark.parametrize(
    ("reset_at", "usd"), [(None, "2.5"), (AT + timedelta(hours=1), "2.5"), (AT, None), ("2026-11-29 05:00:00", None)]
)
def test_what_was_spent_counts_while_its_window_runs(reset_at: Any, usd: str | None) -> None:
    row = {"user_id": "ida", "max_budget": 9.0, "budget_duration": "1d", "spend": 2.5, "budget_reset_at": reset_at}

    opening = budgets_of(users=[row])["user ida"].get("opening")

    assert opening == (None if usd is None else {"usd": usd, "at": "2026-11-29T06:00:00+00:00"})


def test_limits_of_a_model_and_of_several_windows() -> None:
    made = budgets_of(
        keys=[{
            "token": "a" * 64, "key_alias": "k", "soft_budget": 3.0,
            "model_max_budget": {"gpt-5": {"budget_limit": "7.5", "time_period": "1d", "rpm_limit": 20}},
            "budget_limits": '[{"budget_duration": "1d", "max_budget": 2.0, "reset_at": "2026-11-30T00:00:00Z"}]',
        }],
        windows=[
            {"entity_type": "key", "entity_id": "a" * 64, "window_duration": "1d", "spend": 0.25},
            {"entity_type": "key", "entity_id": "b" * 64, "window_duration": "1d", "spend": 100.0},
        ],
    )  # fmt: skip

    assert {name: {k: v for k, v in row.items() if k not in ("name", "match")} for name, row in made.items()} == {
        "key k soft_budget": {"limit_usd": "3", "window": "total", "action": "warn", "alert_at": [1.0]},
        "key k 1d": {"limit_usd": "2", "window": "day", "opening": {"usd": "0.25", "at": AT.isoformat()}},
        "key k gpt-5": {"limit_usd": "7.5", "window": "day"},
        "key k gpt-5 rpm_limit": {"limit_requests": 20, "window": "minute"},
    }
    assert made["key k gpt-5"]["match"] == {"key": "k", "model": "gpt-5"}


def test_an_organization_and_a_project_are_labels_of_their_keys() -> None:
    made, left = convert({}, {
        "keys": [
            {"token": "a" * 64, "key_alias": "one", "team_id": "t", "project_id": "p"},
            {"token": "b" * 64, "key_alias": "two", "organization_id": "o"},
            {"token": "c" * 64, "key_alias": "off", "project_id": "gone"},
        ],
        "teams": [{"team_id": "t", "organization_id": "o"}],
        "organizations": [{"organization_id": "o", "organization_alias": "acme", "budget_id": "b"}],
        "projects": [{"project_id": "p", "max_budget": 5.0}, {"project_id": "gone", "blocked": True}],
        "budgets": [{"budget_id": "b", "max_budget": 50.0, "budget_duration": "30d"}],
        "organization_members": [{"user_id": "ida", "organization_id": "o", "budget_id": "b"}],
    }, AT)  # fmt: skip

    assert [key.get("labels") for key in made["keys"]] == [
        {"organization": "acme", "project": "p"},
        {"organization": "acme"},
    ]
    assert [(budget["name"], budget["match"]) for budget in made["budgets"]] == [
        ("organization acme", {"label.organization": "acme"}),
        ("project p", {"label.project": "p"}),
        ("user ida in organization acme", {"label.organization": "acme", "user": "ida"}),
    ]
    assert any("key off: is blocked" in line for line in left)


def test_several_with_one_alias_are_told_apart() -> None:
    """LiteLLM knows them by their ids; one's calls count in no other's budget."""
    made, left = convert({}, {
        "keys": [
            {"token": "a" * 64, "key_alias": "one", "team_id": "t1", "project_id": "p1"},
            {"token": "b" * 64, "key_alias": "two", "team_id": "t2", "project_id": "p2"},
            {"token": "c" * 64, "key_alias": "three", "team_id": "t3", "project_id": "p3"},
        ],
        "teams": [
            {"team_id": "t1", "team_alias": "eng", "organization_id": "o1", "max_budget": 5.0},
            {"team_id": "t2", "team_alias": "eng", "organization_id": "o2", "max_budget": 7.0, "spend": 2.0},
            {"team_id": "t3", "team_alias": "ops", "max_budget": 9.0},
        ],
        "organizations": [
            {"organization_id": "o1", "organization_alias": "acme"}, {"organization_id": "o2", "organization_alias": "acme"},
        ],
        "projects": [
            {"project_id": "p1", "project_alias": "p2"}, {"project_id": "p2"}, {"project_id": "p3", "project_alias": "x"},
        ],
        "team_members": [{"team_id": "t2", "user_id": "ida", "budget_id": "b"}],
        "budgets": [{"budget_id": "b", "max_budget": 1.0}],
    }, AT)  # fmt: skip

    assert [(key["team"], key["labels"]) for key in made["keys"]] == [
        ("eng-t1", {"organization": "acme-o1", "project": "p2-p1"}),
        ("eng-t2", {"organization": "acme-o2", "project": "p2-p2"}),
        ("ops", {"project": "x"}),
    ]
    assert {budget["name"]: (budget["match"], budget.get("opening", {}).get("usd")) for budget in made["budgets"]} == {
        "team eng-t1": ({"team": "eng-t1"}, None),
        "team eng-t2": ({"team": "eng-t2"}, "2"),
        "team ops": ({"team": "ops"}, None),
        "user ida in team eng-t2": ({"team": "eng-t2", "user": "ida"}, None),
    }
    assert "team eng: is the name of 2; this one is eng-t1 here" in left


@pytest.mark.parametrize(
    ("key", "team", "models"),
    [
        ([], [], None),
        (["a"], [], ["a"]),
        ([], ["a", "b"], ["a", "b"]),
        (["a", "c"], ["a", "b"], ["a"]),
        (["a-1", "b"], ["a-*"], ["a-1"]),
        (["all-team-models"], ["a"], ["a"]),
        (["a"], ["all-proxy-models"], ["a"]),
        (["c"], ["a"], "left out"),
        (["no-default-models"], [], "left out"),
    ],
)
def test_a_key_may_use_what_its_team_may_use_too(key: list[str], team: list[str], models: Any) -> None:
    made, _ = convert({}, {
        "keys": [{"token": "a" * 64, "key_alias": "k", "team_id": "t", "models": key}],
        "teams": [{"team_id": "t", "models": team}],
    }, AT)  # fmt: skip

    assert [one.get("models") for one in made.get("keys", ())] == ([] if models == "left out" else [models])


def test_budgets_keep_the_time_zone_of_their_windows() -> None:
    made, left = convert(
        {"litellm_settings": {"max_budget": 5, "budget_duration": "1d", "timezone": "Europe/Berlin"}}, {}, AT
    )

    assert made["budgets"] == [{"name": "all", "limit_usd": "5", "window": "day", "timezone": "Europe/Berlin"}]
    assert left == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--dump", str(FILES / "config.yaml")), "has no table of LiteLLM"),
        (("--database", "postgresql://me:hush@127.0.0.1:1/x"), 'LiteLLM\'s database cannot be read: connection failed: connection to server at "127.0.0.1", port 1 failed'),
        (("--database", "not an address"), "LiteLLM's database cannot be read: ArgumentError"),
        (("--database", "x", "--dump", str(FILES / "dump.sql")), "not both"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    done = bring(tmp_path / "out.yaml", *more)

    assert done.exit_code in (1, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert said in done.stderr
    assert "hush" not in done.stderr
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


@pytest.mark.parametrize(
    ("table", "rows", "said"),
    [
        ("LiteLLM_VerificationToken", [{"token": "a" * 64, "max_budget": 5, "spend": "Infinity"}], "a row of LiteLLM's database"),
        ("LiteLLM_TeamTable", [{"team_id": "t", "rpm_limit": 1e999}], "a row of LiteLLM's database"),
        ("LiteLLM_VerificationToken", ["not a row"], "a row of LiteLLM's database"),
        ("LiteLLM_SpendLogs", [{"startTime": "2026-11-01", "spend": "Infinity"}], "a row of LiteLLM's spend log"),
        ("LiteLLM_SpendLogs", ["not a row"], "a row of LiteLLM's spend log"),
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_told(tmp_path: Path, table: str, rows: list[Any], said: str) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({"LiteLLM_BudgetTable": [], table: rows}))

    done = bring(tmp_path / "taximeter.yaml", "--dump", str(dump), "--replay")

    assert isinstance(done.exception, SystemExit)
    assert f"{said} cannot be read" in done.stderr
