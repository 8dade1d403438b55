"""What of LiteLLM is left out or passed by changes no request to a provider, no answer of one, no stream and no bill."""

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
from tests.support.warm import environment

pytestmark = pytest.mark.timeout(3600 if os.environ.get("TRANSLATION") == "all" else 600)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `tests.support.beside_litellm` wrote."""
    folder = tmp_path_factory.mktemp("beside")
    account, public = service_account(0)
    (folder / "account.json").write_text(account)
    (folder / "other").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(clouds.PUBLIC_KEY, public)
        with (
            module_running(folder, "tests.support.clouds") as port,
            module_running(folder / "other", "tests.support.clouds") as other,
        ):
            command = [sys.executable, "-m", "tests.support.beside_litellm", str(folder), str(port), str(other)]
            env = environment() | {"TRANSLATED_ACCOUNT": str(folder / "account.json")}
            subprocess.run(command, cwd=ROOT, env=env, check=True)
    return folder


def test_litellm_has_the_names_that_are_replaced_and_awaits_them_as_before(ran: Path) -> None:
    missing = json.loads((ran / "names.json").read_text())

    assert missing == {"lost": [], "bare": [], "not awaited": [], "awaited": [], "not of a stream": []}


def test_requests_and_answers_are_those_of_litellm_as_it_is(ran: Path) -> None:
    """Ten providers, three dialects, eleven kinds of calls, whole and streamed: one in eight; TRANSLATION=all has them all."""

    def answers(name: str) -> dict[str, Any]:
        return {name: rest for name, *rest in map(json.loads, (ran / name).read_text().splitlines())}

    ours, plain = answers("ours"), answers("plain")

    assert len(ours) > 60
    assert ours.keys() == plain.keys()
    assert {name for name in ours if ours[name] != plain[name]} == set()
    assert sum(status == 200 for status, *_ in ours.values()) > 0.6 * len(ours)


def test_odd_streams_come_out_as_litellm_has_them_and_cost_the_same(ran: Path) -> None:
    """Streams as servers send them in the field, and worse."""
    lines = [json.loads(line) for line in (ran / "streams").read_text().splitlines()]

    assert [(name, quick, slow) for name, _, quick, slow in lines if quick != slow] == []
    told = {
        name: (text, json.loads(readings[0])["taximeter_reading"] if readings else {})
        for name, _, (_, text, readings), _ in lines
    }
    for caller, upstream, whole in (
        ("messages", "openai", "plain"), ("responses", "vllm", "plain"), ("chat", "anthropic", "plain"),
        ("messages", "gemini", "usage in each"),
    ):  # fmt: skip
        endless, plain = (told[f"{caller} {upstream}: {name}"][1] for name in ("no blank line at the end", whole))
        assert endless["usage"] == plain["usage"]
    for caller in ("chat", "responses"):
        for name in ("anthropic: cut off", "bedrock: cut off", "bedrock: cut off in a frame"):
            assert "ended before its last event" in told[f"{caller} {name}"][0]
        garbage = told[f"{caller} bedrock: nothing that is a frame behind it"][1]
        assert (garbage["usage"], garbage["source"]) == ({"input": 21, "output": 9}, "provider")
    assert len(lines) > 120
    assert sum(passed > 0 for _, passed, *_ in lines) > len(lines) / 2, "hardly anything passes LiteLLM by"
