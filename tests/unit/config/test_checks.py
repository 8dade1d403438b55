"""The configuration: everything that is wrong is told at once, with its key path; nothing wrong is silently taken."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from proxy.config.checks import load_config
from proxy.config.problems import ConfigError
from proxy.config.reading import read_section
from proxy.config.upstream import Upstream

GOOD = """
upstreams:
  openai: {base_url: "https://api.openai.com/v1", api_key: "${OPENAI_KEY}"}
  vllm: {base_url: "http://127.0.0.1:8000/v1", provider: vllm}
models:
  "gpt-*": {upstream: openai}
  local: {upstream: vllm, fallbacks: ["gpt-*"]}
keys: [{name: k, key: "${KEY:-sk-default-0123456789}", team: t}]
budgets: [{name: b, limit_usd: 0.5, window: day, match: {team: t}}]
"""
ENVIRON = {"OPENAI_KEY": "sk-x"}


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    file = folder / "c.yaml"
    file.write_text(text)
    return load_config(file, ENVIRON if environ is None else environ)[:2]


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        load(folder, text, environ)
    return {problem.path: problem.message for problem in error.value.problems}


def test_a_good_file_is_taken(tmp_path: Path) -> None:
    config, warnings = load(tmp_path, GOOD)
    assert warnings == []
    assert (config.upstreams["openai"].api_key, config.keys[0].key) == ("sk-x", "sk-default-0123456789")
    assert config.budgets[0].limit_usd == Decimal("0.5")


def test_an_upstream_without_its_key_is_left_out_with_its_models_and_where_they_are_named(tmp_path: Path) -> None:
    config, warnings = load(tmp_path, GOOD, {})
    assert (list(config.upstreams), list(config.models), config.models["local"].fallbacks) == (["vllm"], ["local"], ())
    assert len(warnings) == 1


def test_problems_of_form_and_of_sense_are_told_together(tmp_path: Path) -> None:
    text = """
server: {port: "x"}
upstreams: {a: {base_url: "ftp://x"}, b: {base_url: "http://h/v1", dialect: foo}}
models: {m: {upstream: zzz}, n: {upstream: b}}
prices: [{provider: a, model: m, input: 0.1}]
keys: [{name: k}, {name: 5}, {name: k, key: "sk-0123456789abcdef"}]
budgets: [{name: x, window: fortnight, limit_usd: 1}, {name: y, window: day}]
nonsense: 1
"""
    assert set(problems(tmp_path, text)) == {
        "server.port", "upstreams.a.base_url", "upstreams.b.dialect", "models.m.upstream", "prices[0].input", "keys[0]",
        "keys[1].name", "keys[2].name", "budgets[0].window", "budgets[1]", "nonsense",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a: 1\na: 2", "c.yaml:2:1"),
        ("[1, 2]", "c.yaml"),
        ("a: [", "c.yaml:1:5"),
        ("keys: [{name: k, key: '${UNSET}'}]", "keys[0].key"),
        ("keys: [{name: k, key: 'os.environ/UNSET'}]", "keys[0].key"),
        ("keys: [{name: k, key: '${file:missing}'}]", "keys[0].key"),
        ("keys: [{name: k, key: 'same-0123456789abcdef'}, {name: l, key: 'same-0123456789abcdef'}]", "keys[1].key"),
        ("budgets: [{name: b, window: day, limit_usd: 9000001}]", "budgets[0].limit_usd"),
        ("budgets: [{name: b, window: day, limit_usd: -1}]", "budgets[0].limit_usd"),
        ("budgets: [{name: b, window: day, limit_usd: '1e-12'}]", "budgets[0].limit_usd"),
        ("budgets: [{name: b, window: day, limit_usd: .nan}]", "budgets[0].limit_usd"),
        ("budgets: [{name: b, window: day, limit_tokens: 1.5}]", "budgets[0].limit_tokens"),
        ("budgets: [{name: b, window: day, limit_usd: 1, timezone: Mars}]", "budgets[0].timezone"),
        ("budgets: [{name: b, window: day, limit_tokens: 1, units: [resoning]}]", "budgets[0].units"),
        ("budgets: [{name: b, window: day, limit_tokens: 1, units: [web_search]}]", "budgets[0].units"),
        (
            "budgets: [{name: b, window: day, limit_usd: 1, per: [team], overrides: {x: lots}}]",
            "budgets[0].overrides.x",
        ),
        ("server: {admin_host: 0.0.0.0}", "server.admin_key"),
        ("on_unpriced: maybe", "on_unpriced"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, path: str) -> None:
    assert path in problems(tmp_path, text, {})


@pytest.mark.long
@pytest.mark.parametrize("depth", [90, 300, 2000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}")])
def test_a_file_without_a_bottom_is_a_problem_too(tmp_path: Path, depth: int, opening: str, closing: str) -> None:
    """A reload has to refuse it, not end with it."""
    with pytest.raises(ConfigError):
        load(tmp_path, f"models: {opening * depth}{closing * depth}\n")


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("sk-from-a-file-012345\n")
    config, _ = load(tmp_path, "keys: [{name: k, key: '${file:secret}'}]")
    assert config.keys[0].key == "sk-from-a-file-012345"
    assert "sk-from-a-file" not in repr(config)


def test_an_empty_value_is_as_if_absent(tmp_path: Path) -> None:
    config, _ = load(tmp_path, "alerts: {webhook: '${HOOK:-}'}", {})
    assert config.alerts.webhook is None


@pytest.mark.parametrize(
    ("row", "dialects", "problem"),
    [
        ({"provider": "aws", "params": {"aws_region_name": "eu-central-1"}}, ("bedrock",), None),
        ({"provider": "bedrock", "base_url": "https://bedrock-runtime.eu-central-1.amazonaws.com"}, ("bedrock",), None),
        (
            {"provider": "aws", "base_url": "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1"},
            ("openai",),
            None,
        ),
        ({"provider": "aws", "dialects": ["openai", "bedrock"], "base_url": "http://h"}, ("openai", "bedrock"), None),
        ({"provider": "aws"}, ("bedrock",), "aws_region_name"),
        (
            {"provider": "other", "base_url": "http://h", "params": {"aws_region_name": "x"}},
            ("openai",),
            "the dialect `bedrock`",
        ),
    ],
)
def test_bedrock_is_spoken_where_nothing_else_is_said(
    row: dict[str, Any], dialects: tuple[str, ...], problem: str | None
) -> None:
    upstream = read_section(Upstream, row)

    assert upstream.spoken("u") == dialects
    problems = [
        what for _, what in upstream.problems(upstream.base_url, speaks_others=False, signs="bedrock" in dialects)
    ]
    assert [problem in what for what in problems] == ([True] if problem else [])


def test_what_an_azure_deployment_is_priced_as_goes_with_any_upstream() -> None:
    row = {"base_url": "https://x.openai.azure.com/openai/v1", "provider": "azure"}
    made = Upstream(**row, params={"deployment_type": "DataZoneStandard", "zone": "eu"})

    assert not list(made.problems(made.base_url, speaks_others=False, signs=False))
    assert made.places() == {"deployment_type": "DataZoneStandard", "zone": "eu"}
    wrong = Upstream(**row, params={"zone": 5})
    assert [name for name, _ in wrong.problems(wrong.base_url, speaks_others=False, signs=False)] == ["params.zone"]


@pytest.mark.parametrize("timeout", ["header_timeout_s", "body_timeout_s", "write_timeout_s", "realtime_idle_s"])
def test_a_time_out_of_0_is_refused_as_everything_would_end_at_once(tmp_path: Path, timeout: str) -> None:
    """It stands for none at all elsewhere."""
    assert list(problems(tmp_path, f"server: {{{timeout}: 0}}")) == [f"server.{timeout}"]


@pytest.mark.parametrize("timeout", ["connect_timeout_s", "first_byte_timeout_s", "idle_timeout_s"])
def test_so_is_one_of_an_upstream(tmp_path: Path, timeout: str) -> None:
    text = f"upstreams: {{a: {{base_url: 'http://h/v1', {timeout}: 0}}}}"
    assert list(problems(tmp_path, text)) == [f"upstreams.a.{timeout}"]


def test_a_wait_of_0_is_none(tmp_path: Path) -> None:
    config, _ = load(tmp_path, "server: {busy_wait_s: 0, drain_timeout_s: 0, keepalive_comment_s: 0}" + GOOD)
    assert config.server.busy_wait_s == 0


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (" sk-0123456789abcdef", "blanks or a line break"),
        ("sk-0123456789abcdef\\n", "blanks or a line break"),
        ("sk-0123456789\\nabcdef", "no header takes"),
        ("sk-0123456789abcd\u2026", "no header takes"),
    ],
)
def test_a_secret_that_nobody_can_send_is_refused(tmp_path: Path, secret: str, says: str) -> None:
    told = problems(tmp_path, f'keys: [{{name: k, key: "{secret}"}}]\nserver: {{admin_key: "{secret}"}}')

    assert list(told) == ["server.admin_key", "keys[0].key"]
    assert all(says in message for message in told.values())
    assert secret.strip() not in str(told)


@pytest.mark.parametrize(
    ("match", "says"),
    [
        ('{team: ""}', "has an empty value"),
        ('{team: [a, ""]}', "has an empty value"),
        ('{team: "${TEAM:-}"}', "comes out empty, and every call would be matched"),
        ('{team: ["${TEAM:-}"]}', "has an empty value"),
        ("{team: []}", "names no value"),
    ],
)
def test_a_match_that_is_empty_is_refused(tmp_path: Path, match: str, says: str) -> None:
    """It counted no call, or (out of the environment) every one."""
    text = f"budgets: [{{name: b, limit_usd: 1, window: day, match: {match}}}]"
    told = problems(tmp_path, text) | problems(tmp_path, f"plans: [{{name: p, usd_per_month: 1, match: {match}}}]")
    assert [path for path in told if "match.team" in path] == ["budgets[0].match.team", "plans[0].match.team"]
    assert all(says in message for message in told.values())


@pytest.mark.parametrize(
    ("text", "path", "number"),
    [
        ("server:\n  port: ${N:-8080}", "server.port", 8080),
        ("server:\n  max_head_kb: ${N:-128}", "server.max_head_kb", 128),
        ("server:\n  max_connections: ${SET}", "server.max_connections", 4200),
        ("translate:\n  workers: ${N:-2}", "translate.workers", 2),
        ("jobs:\n  max_file_mb: ${N:-0}", "", 0),
        ("server:\n  port: ${N:-80_80}", "", 0),
        ("server:\n  port: ${N:-010}", "", 0),
        ("server:\n  max_connections: ${N:-true}", "", 0),
    ],
)
def test_whole_numbers_come_from_the_environment_as_others_do(
    tmp_path: Path, text: str, path: str, number: int
) -> None:
    """Platforms say by PORT where to listen. What is no whole number stays refused."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    if not path:
        with pytest.raises(ConfigError):
            load_config(file, {})
        return
    config, *_ = load_config(file, {"SET": "4200"})
    section, name = path.split(".")
    assert getattr(getattr(config, section), name) == number
