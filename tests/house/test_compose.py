"""The compose file and the image, as far as that goes without an engine: what they mount is what the product accepts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config.checks import load_config
from tests.house.source import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
ENVIRONMENT = {
    "TAXIMETER_ADMIN_KEY": "an-admin-key-of-some-length",
    "TAXIMETER_METRICS_TOKEN": "a-metrics-token-of-some-length",
    "POSTGRES_PASSWORD": "a-password-of-some-length",
    "REDIS_PASSWORD": "redis-secret-0123456789",
    "OPENAI_API_KEY": "sk-something",
    "ANTHROPIC_API_KEY": "",
}


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(COMPOSE)


def test_the_mounted_configuration_is_accepted(compose: Any, tmp_path: Path) -> None:
    """With one provider's key set: that provider is served, the others are left out with a warning."""
    file = tmp_path / "taximeter.yaml"
    file.write_text(compose["configs"]["taximeter"]["content"].replace("$$", "$"))

    config, warnings, _ = load_config(file, ENVIRONMENT)

    assert list(config.upstreams) == ["openai", "vllm"]
    assert list(config.models) == ["gpt-*", "local"]
    assert any("anthropic" in warning for warning in warnings)
    assert "@postgres/" in config.ledger
    assert config.store == f"redis://:{ENVIRONMENT['REDIS_PASSWORD']}@redis:6379/0"
    assert {"postgres", "redis", "prometheus", "alertmanager", "grafana"} <= set(compose["services"])


def test_every_setting_that_the_configuration_reads_is_passed_in(compose: Any) -> None:
    """No `${VAR}` in the mounted file that the service is not given."""
    read = set(re.findall(r"\$\$\{(\w+)", compose["configs"]["taximeter"]["content"]))

    assert read - set(compose["services"]["taximeter"]["environment"]) == set()


def test_nothing_that_keeps_money_is_open_to_its_neighbours(compose: Any) -> None:
    """Redis asks for the password that the proxy has, and its health check knows it, too."""
    redis = compose["services"]["redis"]
    secret = "${REDIS_PASSWORD:?set it to a secret of at least 16 characters}"

    assert redis["command"][redis["command"].index("--requirepass") + 1] == secret
    assert redis["environment"]["REDISCLI_AUTH"] == secret
    assert compose["services"]["taximeter"]["environment"]["REDIS_PASSWORD"] == secret
    assert [name for name in ("redis", "postgres") if "ports" in compose["services"][name]] == []


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


def services_of(text: str) -> list[str]:
    """The services of a compose file. Raises what its parser raises."""
    from compose_spec import PyCompose  # noqa: PLC0415 - slow to import: for the worker that runs these tests

    names: list[str] = PyCompose.from_yaml(text).service_names()
    return names


def test_the_file_keeps_to_the_compose_specification() -> None:
    assert sorted(services_of(COMPOSE)) == sorted(yaml.safe_load(COMPOSE)["services"])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("restart: unless-stopped", "restart: sometimes"),
        ("read_only: true", "readonly: true"),
        ("service_healthy", "service_happy"),
        ("stop_grace_period: 45s", "stop_grace_period: 45 parsecs"),
        ("profiles: [vllm]", "profiles: vllm"),
    ],
)
def test_what_the_specification_does_not_know_is_seen(right: str, wrong: str) -> None:
    """The check itself."""
    assert right in COMPOSE
    with pytest.raises(ValueError):
        services_of(COMPOSE.replace(right, wrong, 1))


def _mounts(service: Any) -> dict[str, Path]:
    """target -> the file or folder here."""
    pairs = [volume.split(":") for volume in service.get("volumes", ()) if volume.startswith("./")]
    assert all(mode == ["ro"] for _, _, *mode in pairs)
    return {target: ROOT / source for source, target, _ in pairs}


def _flags(service: Any) -> dict[str, str]:
    return dict(flag.partition("=")[::2] for flag in service["command"])


def test_every_file_that_is_mounted_is_there(compose: Any) -> None:
    for service in compose["services"].values():
        for place in _mounts(service).values():
            assert place.exists(), place


def test_prometheus_has_its_files_its_token_and_its_targets(compose: Any) -> None:
    service = compose["services"]["prometheus"]
    mounts = _mounts(service)
    file = mounts[_flags(service)["--config.file"]]
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))

    assert [mounts[f"/etc/prometheus/{name}"] for name in settings["rule_files"]] == [
        file.parent / name for name in settings["rule_files"]
    ]
    (job,) = settings["scrape_configs"]
    (token,) = service["configs"]
    assert token["target"] == f"/etc/prometheus/{job['authorization']['credentials_file']}"
    assert compose["configs"][token["source"]]["content"] == "${TAXIMETER_METRICS_TOKEN}"
    assert job["static_configs"][0]["targets"] == ["taximeter:4101"]
    assert settings["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert _flags(service)["--enable-feature"] == "exemplar-storage"


def test_alertmanager_has_its_file(compose: Any) -> None:
    service = compose["services"]["alertmanager"]
    assert _mounts(service)[_flags(service)["--config.file"]].name == "alertmanager.yml"


def test_grafana_finds_its_data_and_its_dashboards(compose: Any) -> None:
    service = compose["services"]["grafana"]
    mounts = _mounts(service)
    provisioning, dashboards = mounts["/etc/grafana/provisioning"], mounts["/etc/grafana/dashboards"]
    (source,) = yaml.safe_load((provisioning / "datasources/taximeter.yml").read_text(encoding="utf-8"))["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/taximeter.yml").read_text(encoding="utf-8"))["providers"]
    settings = yaml.safe_load((ROOT / "dashboards/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert source["jsonData"]["timeInterval"] == settings["global"]["scrape_interval"]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
    assert (dashboards / Path(home).name).exists()
    assert len(list(dashboards.glob("*.json"))) == 7


def test_ports_are_open_on_this_machine_only(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports)


def test_vllm_is_started_only_when_asked_for(compose: Any) -> None:
    assert {name for name, service in compose["services"].items() if "profiles" in service} == {"vllm"}
    assert "--served-model-name" in compose["services"]["vllm"]["command"]
