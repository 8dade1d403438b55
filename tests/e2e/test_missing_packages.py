"""A package that is missing: one sentence that names it and what to run, and an end; not the same tracebacks for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.gateway import Gateway, server
from tests.support.http_server import listening
from tests.support.processes import ROOT
from tests.support.provider import StatedUsage
from tests.support.waiting import wait_until

KEY = "sk-missing-packages-of-the-tests"


_FINDER = """import sys

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
"""


def without(folder: Path, package: str) -> dict[str, str]:
    """An environment in which `package` is not installed: whoever looks for it is told so."""
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(_FINDER.format(package=package))
    return {"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"}


def broken(folder: Path, package: str) -> dict[str, str]:
    """An environment in which `package` is there but cannot be imported."""
    hidden = folder / "hidden"
    hidden.mkdir()
    line = f"raise ModuleNotFoundError(\"No module named '{package}'\", name={package!r})\n"
    (hidden / f"{package}.py").write_text(line)
    return {"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"}


def config_of(folder: Path, base_url: str, **more: Any) -> dict[str, Any]:
    return {
        "server": server(),
        "upstreams": {"vllm": {"base_url": base_url, "provider": "vllm"}, **more},
        "models": {
            "m": {"upstream": "vllm", "context_tokens": 1000},
            **{name: {"upstream": name, "context_tokens": 1000} for name in more},
        },
        "prices": [{"provider": "*", "model": "*", "input": "1", "output": "10"}],
        "keys": [{"name": "k", "key": KEY}],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
    }


# What the supervisor needs, both kinds of process, the control process, and its API, which is imported when it is asked for.
@pytest.mark.parametrize("package", ["pydantic", "uvloop", "websockets", "sqlalchemy", "fastapi", "jinja2"])
def test_serve_names_the_package_and_ends(tmp_path: Path, package: str) -> None:
    file = tmp_path / "taximeter.yaml"
    file.write_text(yaml.safe_dump(config_of(tmp_path, "http://127.0.0.1:9/v1")))
    done = subprocess.run(
        [sys.executable, "-m", "taximeter", "serve", "--config", str(file)],
        env=os.environ | without(tmp_path, package),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    said = done.stdout + done.stderr
    assert f"the package {package} is not installed: run `make install`" in said
    assert "Traceback" not in said
    assert "started again" not in said


def test_without_a_package_of_the_translator_all_other_calls_go_on(tmp_path: Path) -> None:
    with listening(StatedUsage) as port:
        url = f"http://127.0.0.1:{port}/v1"
        other = {"base_url": url, "provider": "openai", "translate": ["anthropic"]}
        gateway = Gateway(tmp_path, config_of(tmp_path, url, other=other), module="taximeter")
        try:
            gateway.up(env=broken(tmp_path, "openai"))  # LiteLLM imports it
            wait_until("it is said", lambda: "translated upstreams fail until" in gateway.log.read_text(), 60)
            body = {"messages": [{"role": "user", "content": "[10, 0, 5, 0]"}], "max_tokens": 10}
            with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20) as client:
                assert client.post("/v1/chat/completions", json=body | {"model": "m"}).status_code == 200
                assert client.post("/v1/messages", json=body | {"model": "other"}).status_code == 502
        finally:
            gateway.close()
        said = gateway.log.read_text()
        assert "the package openai is not installed: run `make translate`" in said
        assert "started again;" not in said
        assert "Traceback" not in said
