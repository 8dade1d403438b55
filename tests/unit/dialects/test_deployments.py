"""Azure's paths: which model they name, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from proxy.dialects import find
from proxy.errors import Refused
from proxy.wire import multipart

TEXT = [{"role": "user", "content": "hi"}]
SOUND = multipart.Part("file", b"ID3" + bytes(2000), b"a.mp3", b"audio/mpeg")


def parse_at(path: str) -> Callable[[bytes], Any]:
    endpoint = find("POST", path, b"api-version=2024-10-21")
    assert endpoint is not None
    assert endpoint.target_of("m", b"api-version=2024-10-21") in path
    return endpoint.parse


@pytest.mark.parametrize("name", ["gpt-4o", "meta-llama/Llama-3.1-8B", "models/chat/x", "é"])
@pytest.mark.parametrize(
    ("asked", "body"),
    [
        ("chat/completions", {"messages": TEXT}),
        ("completions", {"prompt": "hi"}),
        ("embeddings", {"input": "hi"}),
        ("responses", {"input": "hi"}),
        ("responses/compact", {"input": "hi"}),
        ("responses/input_tokens", {"input": "hi"}),
        ("moderations", {"input": "hi"}),
        ("images/generations", {"prompt": "hi"}),
        ("audio/speech", {"input": "hi", "voice": "alloy"}),
    ],
)
def test_the_path_names_the_model_whatever_the_body_says(name: str, asked: str, body: dict[str, Any]) -> None:
    parse = parse_at(f"/openai/deployments/{name}/{asked}")

    for said in ({}, {"model": "other"}, {"model": None}):
        call = parse(orjson.dumps(body | said))
        assert (call.model, call.body["model"]) == (name, name)


@pytest.mark.parametrize("said", [(), (multipart.Part("model", b"other"),)])
def test_a_form_is_sent_with_a_model_once(said: tuple[multipart.Part, ...]) -> None:
    endpoint = find("POST", "/openai/deployments/gpt-4o-transcribe/audio/transcriptions", b"")
    assert endpoint is not None
    call = endpoint.parse(multipart.encode(b"xyz", (*said, SOUND)))
    sent = multipart.parse(endpoint.encode(call, "whisper-1").written({}))

    assert call.model == "gpt-4o-transcribe"
    assert [part.data for part in sent.parts if part.name == "model"] == [b"whisper-1"]


@pytest.mark.parametrize(
    "path", ["", "m", "m/", "/chat/completions", "m/rerank", "m/models", "m/chat", "m/v1/messages"]
)
def test_nothing_else_is_asked_of_a_deployment(path: str) -> None:
    assert find("POST", f"/openai/deployments/{path}", b"") is None


def test_a_name_that_no_model_can_have_is_refused() -> None:
    for name in ("a" * 257, "a\nb"):
        with pytest.raises(Refused) as refused:
            parse_at(f"/openai/deployments/{name}/chat/completions")(orjson.dumps({"messages": TEXT}))
        assert refused.value.refusal.param == "model"
