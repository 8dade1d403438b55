"""Settings without a value are as if absent, where nothing is lifted by it; and the shipped schema is one of files as written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from docs.generate import SCHEMA
from proxy.config.checks import load_config
from proxy.config.model import Config
from proxy.config.problems import ConfigError

ROUTES = """
upstreams: {openai: {base_url: "https://api.openai.com/v1", api_key: x}, vllm: {base_url: "http://h/v1", provider: vllm}}
models: {gpt-4o-mini: {upstream: openai}}
"""
KEY = "name: k, key: sk-0123456789abcdef"
ENVIRON = {"COUNT": "500", "YES": "true", "STATUS": "429", "WORD": "day"}


def load(folder: Path, text: str) -> Config:
    file = folder / "c.yaml"
    file.write_text(ROUTES + text)
    return load_config(file, ENVIRON)[0]


def fits_the_schema(text: str) -> bool:
    tree = json.loads(json.dumps(yaml.safe_load(ROUTES + text), default=str))
    return bool(Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(tree))


@pytest.mark.parametrize(
    "text",
    [
        *(f"{name}:" for name in ("server", "guards", "spool", "alerts", "jobs", "log", "translate")),
        *(f"{name}:" for name in ("budgets", "keys", "prices", "plans", "capacity", "exports")),
        *(f"{name}:" for name in ("ledger_retention_days", "session_guess", "on_unpriced")),
        "server: {admin_key: }", "server: {port: , host: , budget_status: , busy_wait_s: }", "log: {sample: }",
        "spool: {mode: , max_mb: }", "guards: {max_requests: , loop: }", "alerts: {webhook: }",
    ],
)  # fmt: skip
def test_a_setting_without_a_value_is_as_if_absent(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == load(tmp_path, "")
    assert fits_the_schema(text)


@pytest.mark.parametrize("name", ["metrics_token", "viewer_key", "port", "max_body_mb", "budget_status"])
def test_empty_text_is_no_value(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, f'server: {{{name}: ""}}') == load(tmp_path, "")


@pytest.mark.parametrize(
    "name",
    [
        "action",
        "clamp",
        "ceiling",
        "timezone",
        "alert_at",
        "per",
        "overrides",
        "on_store_down",
        "limit_tokens",
        "units",
    ],
)
def test_so_in_rows(tmp_path: Path, name: str) -> None:
    row = "name: a, limit_usd: 5, window: day"
    assert load(tmp_path, f"budgets: [{{{row}, {name}: }}]") == load(tmp_path, f"budgets: [{{{row}}}]")
    assert fits_the_schema(f"budgets: [{{{row}, {name}: }}]")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("budgets: [{name: , limit_usd: 5, window: day}]", "budgets[0].name"),
        ("budgets: [{name: a, limit_usd: 5, window: day, match: }]", "budgets[0].match"),
        ("budgets: [{name: a, limit_usd: , window: day}]", "budgets[0]"),
        (
            "budgets: [{name: a, limit_usd: 5, window: day, per: [customer], overrides: {acme: }}]",
            "budgets[0].overrides.acme",
        ),
        (f'keys: [{{{KEY}, models: ""}}]', "keys[0].models"),
        (f'keys: [{{{KEY}, expires: ""}}]', "keys[0].expires"),
        ("keys: [{name: k, key: }]", "keys[0]"),
        ("server: {host: 0.0.0.0, admin_key: }", "server.admin_key"),
        # What a template makes of a value that it lacks: nobody may be told that all is well, and be without it.
        ('server: {admin_key: ""}', "server.admin_key"),
        ('server: {max_calls_per_key: ""}', "server.max_calls_per_key"),
        ('guards: {max_requests: ""}', "guards.max_requests"),
        ('guards: {max_usd_per_minute: ""}', "guards.max_usd_per_minute"),
        ('guards: {loop: ""}', "guards.loop"),
        ('budgets: [{name: a, limit_usd: "", limit_tokens: 5, window: day}]', "budgets[0].limit_usd"),
        ('store: ""', "store"),
        ('ledger: ""', "ledger"),
        ("ledger:", "ledger"),
        ("store:", "store"),
        ("data_dir:", "data_dir"),
        ('data_dir: ""', "data_dir"),
    ],
)
def test_what_is_required_or_limits_is_not_left_out(tmp_path: Path, text: str, path: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)

    assert [problem.path for problem in error.value.problems] == [path]


@pytest.mark.parametrize(
    "text",
    [
        "budgets: [{name: a, match: {team: payments, label.plan: [a, b]}, limit_usd: 5, window: day}]",
        "plans: [{name: pro, match: {label.plan: pro}, usd_per_month: 20}]",
        "capacity: [{name: a, upstreams: vllm, usd_per_hour: 2.5, compare: openai/gpt-5-mini}]",
        'server: {port: "${PORT:-4100}", max_body_mb: "${COUNT}", budget_status: "${STATUS}"}',
        'server: {port: "os.environ/COUNT"}',
        f'keys: [{{{KEY}, trust_labels: "${{YES}}"}}]',
        'budgets: [{name: a, limit_usd: "${COUNT}", window: "${WORD}", clamp: "${YES}"}]',
        'budgets: [{name: a, limit_requests: "${COUNT}", window: day}]',
        'ledger_retention_days: "${COUNT}"',
        'spool: {max_mb: "${COUNT}", keep_shipped_s: "${COUNT}"}',
    ],
)
def test_what_is_read_fits_the_schema(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)

    assert fits_the_schema(text)


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: x}", "server: {port: 70000}", "server: {budget_status: 403}", "session_guess: perhaps",
        "budgets: [{name: a, per: session, limit_usd: 5, window: day}]", "models: {m: {upstream: }}", "budgets: {a: 1}",
    ],
)  # fmt: skip
def test_what_is_refused_does_not_fit_the_schema(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, text)

    assert not fits_the_schema(text)
