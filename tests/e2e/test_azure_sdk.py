"""`AzureOpenAI` of OpenAI's SDK, pointed at Taximeter: its deployments are the configured models, whoever serves them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.sdk_rig import KEY, POOR_KEY, SdkRig, running, usage_of
from tests.support.replay import AUDIO, TEXT

ASK: list[Any] = [{"role": "user", "content": "Name an animal with stripes."}]
VERSION = "2024-10-21"
CHAT_USED = {"input": 20, "cache_read": 100, "output": 20, "reasoning": 10}
IMAGE_USED = {"input": 20, "image_in": 30, "image_out": 4160}
PNG = ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkRig]:
    with running(tmp_path_factory.mktemp("azure")) as made:
        yield made


def azure(rig: SdkRig, session: str = "none", **changes: Any) -> openai.AzureOpenAI:
    headers = {"x-taximeter-session-id": session}
    given = {"api_key": KEY, "api_version": VERSION, "azure_endpoint": rig.url, "max_retries": 0}
    return openai.AzureOpenAI(default_headers=headers, **(given | changes))


def post(rig: SdkRig, path: str, body: Any, session: str = "none", method: str = "POST") -> httpx.Response:
    """Without an SDK, as Azure's own examples with curl are."""
    headers = {"api-key": KEY, "x-taximeter-session-id": session}
    return httpx.request(method, f"{rig.url}{path}", params={"api-version": VERSION}, headers=headers, json=body)


def mp3() -> io.BytesIO:
    file = io.BytesIO(b"ID3" + bytes(5000))
    file.name = "a.mp3"
    return file


def chat(client: openai.AzureOpenAI) -> object:
    return client.chat.completions.create(model="gpt-4o-mini", messages=ASK).choices[0].message.content


def chat_stream(client: openai.AzureOpenAI) -> object:
    with client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True) as stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def completions(client: openai.AzureOpenAI) -> object:
    return client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Stripes?").choices[0].text


def embeddings(client: openai.AzureOpenAI) -> object:
    found = client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
    return found.data[0].embedding


def responses(client: openai.AzureOpenAI) -> object:
    return client.responses.create(model="gpt-4o-mini", input="Stripes?").output_text


def images(client: openai.AzureOpenAI) -> object:
    found: Any = client.images.generate(model="gpt-image-1", prompt="a zebra", size="1024x1024", quality="high")
    return found.data[0].b64_json


def edits(client: openai.AzureOpenAI) -> object:
    found: Any = client.images.edit(model="gpt-image-1", prompt="more stripes", image=PNG, size="1024x1024")
    return found.data[0].b64_json


def transcriptions(client: openai.AzureOpenAI) -> object:
    return client.audio.transcriptions.create(model="gpt-4o-transcribe", file=mp3()).text


def speech(client: openai.AzureOpenAI) -> object:
    return client.audio.speech.create(model="tts-1", voice="alloy", input="Hello").content


@pytest.mark.parametrize(
    ("call", "answer", "used"),
    [
        (chat, TEXT, CHAT_USED),
        (chat_stream, TEXT, CHAT_USED),
        (completions, TEXT, CHAT_USED),
        (embeddings, [0.5, 0.25], {"input": 6}),
        (responses, TEXT, CHAT_USED),
        (images, "AAAA", IMAGE_USED),
        (edits, "AAAA", IMAGE_USED),
        (transcriptions, TEXT, {"input": 10, "audio_in": 30, "output": 8}),
        (speech, AUDIO, {"character": 5}),
    ],
)
def test_each_of_its_calls_is_answered_and_billed(
    rig: SdkRig, call: Callable[[openai.AzureOpenAI], object], answer: object, used: dict[str, int]
) -> None:
    session = f"azure-{call.__name__}"

    with azure(rig, session) as client:
        assert call(client) == answer
    assert usage_of(rig.entry(session)) == used
    last = rig.seen()[-1]
    assert "api-version" not in last["path"]  # the upstream is no Azure
    assert "deployments" not in last["path"]
    assert last["headers"]["authorization"] == "Bearer sk-real-openai"
    assert "api-key" not in last["headers"]


@pytest.mark.parametrize(
    ("body", "session"), [({}, "without"), ({"model": "claude-sonnet-4-6"}, "other"), ({"model": 5}, "wrong")]
)
def test_the_deployment_goes_before_the_model_in_the_body(rig: SdkRig, body: dict[str, Any], session: str) -> None:
    answer = post(rig, "/openai/deployments/gpt-4o-mini/chat/completions", body | {"messages": ASK}, session)

    assert answer.status_code == 200, answer.text
    assert rig.seen()[-1]["body"]["model"] == "gpt-4o-mini"
    assert rig.entry(session)["model"] == "gpt-4o-mini"


def test_a_form_need_not_name_a_model_either(rig: SdkRig) -> None:
    answer = httpx.post(
        f"{rig.url}/openai/deployments/gpt-4o-transcribe/audio/transcriptions",
        params={"api-version": VERSION},
        headers={"api-key": KEY},
        files={"file": ("a.mp3", b"ID3" + bytes(5000), "audio/mpeg")},
    )

    assert answer.json()["text"] == TEXT
    assert rig.seen()[-1]["body"]["model"] == "gpt-4o-transcribe"


def test_a_client_of_one_deployment_says_another_model_in_the_body(rig: SdkRig) -> None:
    with azure(rig, "one", azure_deployment="gpt-4o-mini") as client:
        assert client.chat.completions.create(model="whatever", messages=ASK).choices[0].message.content == TEXT
    assert rig.entry("one")["model"] == "gpt-4o-mini"


def test_refusals_are_the_sdk_s_own_errors(rig: SdkRig) -> None:
    def ask(model: str = "gpt-4o-mini", **changes: Any) -> openai.APIStatusError:
        with azure(rig, **changes) as client, pytest.raises(openai.APIStatusError) as raised:
            client.chat.completions.create(model=model, messages=ASK)
        return raised.value

    assert (ask(api_key="sk-no").status_code, ask(api_key="sk-no").code) == (401, "invalid_api_key")
    assert (ask("no-such").status_code, ask("no-such").code) == (404, "model_not_found")
    assert (ask(api_key=POOR_KEY).status_code, ask(api_key=POOR_KEY).code) == (402, "budget_exceeded")


def test_other_paths_of_a_deployment_are_told_what_is_served(rig: SdkRig) -> None:
    before = len(rig.seen())
    wrong = post(rig, "/openai/openai/deployments/gpt-4o-mini/chat/completions", {})
    assert wrong.status_code == 404
    assert "did you mean /openai/deployments/MODEL/chat/completions?" in wrong.json()["error"]["message"]
    for path in ("gpt-4o-mini/rerank", "gpt-4o-mini", "/chat/completions", "gpt-4o-mini/v1/messages"):
        assert post(rig, f"/openai/deployments/{path}", {}).status_code == 404, path
    read = post(rig, "/openai/deployments/gpt-4o-mini/chat/completions", None, method="GET")
    assert (read.status_code, read.headers["allow"]) == (405, "POST")
    assert len(rig.seen()) == before
