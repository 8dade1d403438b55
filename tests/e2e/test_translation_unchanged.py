"""What proxy/translate/internals.py leaves out of LiteLLM changes no request to a provider and no answer of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import clouds
from tests.support.processes import ROOT, module_running
from tests.support.translation_rig import service_account


def test_requests_and_answers_are_those_of_litellm_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten providers, three dialects, eleven kinds of calls, whole and streamed: a quarter of them; TRANSLATION=all has them all."""
    account, public = service_account(0)
    (tmp_path / "account.json").write_text(account)
    monkeypatch.setenv(clouds.PUBLIC_KEY, public)
    with module_running(tmp_path, "tests.support.clouds") as port:

        def answers(*how: str) -> dict[str, Any]:
            command = [sys.executable, "-m", "tests.support.translated_calls", str(port), *how]
            env = os.environ | {"TRANSLATED_ACCOUNT": str(tmp_path / "account.json")}
            done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env, timeout=300)
            assert done.returncode == 0, done.stderr[-2000:]
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            return {name: rest for name, *rest in lines}

        plain, ours = answers("plain"), answers()

    assert len(ours) > 100
    assert {name for name in ours if ours[name] != plain[name]} == set()
    assert sum(status == 200 for status, *_ in ours.values()) > 0.6 * len(ours)
