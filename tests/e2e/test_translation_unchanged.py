"""What proxy/translate/internals.py leaves out of LiteLLM, and what runs.py does in its place, changes no request to a provider and no answer of one."""

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


@pytest.mark.timeout(3600 if os.environ.get("TRANSLATION") == "all" else 300)
def test_requests_and_answers_are_those_of_litellm_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten providers, three dialects, eleven kinds of calls, whole and streamed: one in eight; TRANSLATION=all has them all."""
    account, public = service_account(0)
    (tmp_path / "account.json").write_text(account)
    monkeypatch.setenv(clouds.PUBLIC_KEY, public)
    monkeypatch.setenv("TRANSLATED_ACCOUNT", str(tmp_path / "account.json"))

    def answers(file: Path) -> dict[str, Any]:
        return {name: rest for name, *rest in map(json.loads, file.read_text().splitlines())}

    files = tmp_path / "ours", tmp_path / "plain"
    (tmp_path / "other").mkdir()
    with (
        module_running(tmp_path, "tests.support.clouds") as port,
        module_running(tmp_path / "other", "tests.support.clouds") as other,
    ):
        each = [f"{port}:{files[0]}", f"{other}:{files[1]}"]
        subprocess.run([sys.executable, "-m", "tests.support.translated_calls", *each], cwd=ROOT, check=True)
    ours, plain = map(answers, files)

    assert len(ours) > 60
    assert {name for name in ours if ours[name] != plain[name]} == set()
    assert sum(status == 200 for status, *_ in ours.values()) > 0.6 * len(ours)
