"""What proxy/translate/internals.py leaves out of LiteLLM changes no request to a provider and no answer of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import clouds
from tests.support.processes import ROOT, module_running
from tests.support.translation_rig import service_account


def test_requests_and_answers_are_those_of_litellm_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten providers, three dialects, eleven kinds of calls, whole and streamed: one in eight; TRANSLATION=all has them all."""
    account, public = service_account(0)
    (tmp_path / "account.json").write_text(account)
    monkeypatch.setenv(clouds.PUBLIC_KEY, public)
    monkeypatch.setenv("TRANSLATED_ACCOUNT", str(tmp_path / "account.json"))

    def started(port: int, *how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.support.translated_calls", str(port), *how]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    def answers(process: subprocess.Popen[str]) -> dict[str, Any]:
        out, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
        return {name: rest for name, *rest in map(json.loads, out.splitlines())}

    (tmp_path / "plain").mkdir()
    with (
        module_running(tmp_path, "tests.support.clouds") as port,
        module_running(tmp_path / "plain", "tests.support.clouds") as other,
        started(port) as first,
        started(other, "plain") as second,
    ):
        ours, plain = answers(first), answers(second)

    assert len(ours) > 60
    assert {name for name in ours if ours[name] != plain[name]} == set()
    assert sum(status == 200 for status, *_ in ours.values()) > 0.6 * len(ours)
