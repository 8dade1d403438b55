"""Without a file: our own exports are no provider's keys, and there is something to list and to try."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest

from pricing.load import load_book
from proxy.config.checks import build, load_config
from proxy.config.file import Expansion
from proxy.config.problems import ConfigError
from proxy.config.without_file import _PROVIDERS, keys_of_ours, local_tree, needs_local_model, provider_tree
from proxy.control.banner import banner
from tests.support.rows import each_row

VARIABLES = [name for names, *_ in _PROVIDERS.values() for name in names]


@each_row("variable", VARIABLES)
def test_a_key_of_ours_is_none_of_a_provider_s(variable: str) -> None:
    ours = {variable: "sk-tx-Zm9vYmFy"}

    assert needs_local_model(ours)
    assert provider_tree(ours)["upstreams"] == {}
    assert keys_of_ours(ours) == [variable]


def test_another_provider_s_key_beside_it_counts() -> None:
    tree = provider_tree(
        {"OPENAI_API_KEY": "sk-tx-Zm9v", "MISTRAL_API_KEY": "m", "GEMINI_API_KEY": "sk-tx-x", "GOOGLE_API_KEY": "g"}
    )

    assert {name: row["api_key"] for name, row in tree["upstreams"].items()} == {"gemini": "g", "mistral": "m"}


@each_row("variable", VARIABLES)
def test_each_provider_has_models_to_list_and_a_price_for_each(variable: str) -> None:
    config, _ = build(Expansion(provider_tree({variable: "key"}), [], []))
    catalog, now = load_book().catalog, int(time.time())
    exact = {name: row for name, row in config.models.items() if not name.endswith("*")}

    assert exact
    for name, row in exact.items():
        provider = config.upstreams[row.upstream].provider_name(row.upstream)
        assert catalog.find(catalog.canonical(provider), row.model or name, now) is not None, name


@pytest.mark.parametrize(
    ("dialect", "path"),
    [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages"), ("gemini", "/v1beta/models/m:generateContent")],
)
def test_there_is_a_line_to_paste_in_each_dialect(dialect: str, path: str) -> None:
    text = banner(data_url="http://h:1", admin_url="http://h:2", model="m", key="sk-tx-k", ledger="l", dialect=dialect)

    assert f"curl -i http://h:1{path} -H 'authorization: Bearer sk-tx-k'" in text


LOCAL = local_tree("http://127.0.0.1:9/v1", "small", 2048, "sk-local-0123456789abcdef")


def test_a_file_that_names_no_upstream_has_what_is_served_without_one(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_text("server: {port: 4200}\nbudgets: [{name: all, limit_usd: 1, window: day}]\n")
    config, warnings, alone = load_config(file, {}, LOCAL)
    assert alone
    assert (list(config.upstreams), list(config.models), warnings) == (["local"], ["small", "local"], [])
    assert (config.server.port, config.budgets[0].name, config.prices) == (4200, "all", tuple(LOCAL["prices"]))
    _, warnings, alone = load_config(file, {})
    assert alone
    assert "`serve` takes the providers whose keys are set" in warnings[0]


@each_row(
    "text",
    [
        "upstreams: {mine: {base_url: 'http://127.0.0.1:8/v1'}}\n",
        "models: {}\n",
        "upstreams: {openai: {base_url: 'https://api.openai.com/v1', api_key: '${UNSET}'}}\n",
    ],
)
def test_a_file_that_names_upstreams_or_models_has_its_own_alone(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "taximeter.yaml"
        file.write_text(text)
        config, _, alone = load_config(file, {}, LOCAL)
        assert "local" not in config.upstreams
        assert not alone


def test_the_operators_price_of_the_local_model_takes_the_place_of_the_invented_one(tmp_path: Path) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_text("prices: [{provider: llama.cpp, model: '*', input: '1', output: '2'}]\n")
    config, *_ = load_config(file, {}, LOCAL)
    assert [row["input"] for row in config.prices] == ["1"]
    file.write_text("prices: cheap\n")
    with pytest.raises(ConfigError, match="prices"):
        load_config(file, {}, LOCAL)
