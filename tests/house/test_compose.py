"""The compose file and the image, as far as that goes without an engine: what they mount is what the product accepts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.configload import load_config
from tests.house.source import ROOT

ENVIRONMENT = {
    "TAXIMETER_ADMIN_KEY": "an-admin-key-of-some-length",
    "TAXIMETER_METRICS_TOKEN": "a-metrics-token-of-some-length",
    "POSTGRES_PASSWORD": "a-password-of-some-length",
    "OPENAI_API_KEY": "sk-something",
    "ANTHROPIC_API_KEY": "",
}


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_the_mounted_configuration_is_accepted(compose: Any, tmp_path: Path) -> None:
    """With one provider's key set: that provider is served, the others are left out with a warning."""
    file = tmp_path / "taximeter.yaml"
    file.write_text(compose["configs"]["taximeter"]["content"].replace("$$", "$"))

    config, warnings = load_config(file, ENVIRONMENT)

    assert list(config.upstreams) == ["openai"]
    assert list(config.models) == ["gpt-*"]
    assert any("anthropic" in warning for warning in warnings)
    assert "@postgres/" in config.ledger
    assert {"postgres", "redis", "prometheus"} <= set(compose["services"])


def test_every_setting_that_the_configuration_reads_is_passed_in(compose: Any) -> None:
    """No `${VAR}` in the mounted file that the service is not given."""
    read = set(re.findall(r"\$\$\{(\w+)", compose["configs"]["taximeter"]["content"]))

    assert read - set(compose["services"]["taximeter"]["environment"]) == set()


def test_images_are_pinned_and_the_proxy_has_no_rights(compose: Any) -> None:
    """An exact version for each image; the proxy cannot write outside its volume."""
    images = {name: service.get("image", "") for name, service in compose["services"].items()}
    dockerfile = (ROOT / "proxy" / "Dockerfile").read_text(encoding="utf-8")

    assert {name for name, image in images.items() if not re.search(r":v?\d+\.\d+\.?\d*[\w-]*$", image)} == {
        "taximeter"
    }
    assert compose["services"]["taximeter"]["read_only"] is True
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert compose["configs"]["taximeter"]["content"].count("data_dir: /data") == dockerfile.count("VOLUME /data") == 1
