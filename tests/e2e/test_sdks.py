"""The SDK matrix: every proxied path by the provider's own SDK, streamed and not, before a provider that replays bytes.

Each case looks at what the client saw, and at what the ledger says was used and what that costs, to the nano-dollar.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types

from tests.e2e.sdk_rig import KEY, OTHER_KEY, POOR_KEY, SdkRig, cost_usd, running, usage_of
from tests.support.replay import AUDIO, TEXT

GPT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.5-flash"
ASK: list[Any] = [{"role": "user", "content": "Name an animal with stripes."}]
PROMPT = "Name an animal with stripes."
CHAT_USED = {"input": 20, "cache_read": 100, "output": 20, "reasoning": 10}
MESSAGES_USED = {"input": 20, "cache_read": 100, "cache_write_5m": 40, "output": 30}
IMAGE_USED = {"input": 20, "image_in": 30, "image_out": 4160}
TRANSCRIPT_USED = {"input": 10, "audio_in": 30, "output": 8}
PNG = ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkRig]:
    with running(tmp_path_factory.mktemp("sdks")) as made:
        yield made


_clients: list[Any] = []  # until the end of a test: some close themselves when nobody holds them, others never


@pytest.fixture(autouse=True)
def closed_clients() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


def gpt(rig: SdkRig, session: str = "none", key: str = KEY) -> openai.OpenAI:
    headers = {"x-taximeter-session-id": session}
    client = openai.OpenAI(base_url=f"{rig.url}/v1", api_key=key, max_retries=0, default_headers=headers)
    _clients.append(client)
    return client


def claude(rig: SdkRig, session: str = "none", key: str = KEY, prefix: str = "") -> anthropic.Anthropic:
    headers = {"x-taximeter-session-id": session}
    client = anthropic.Anthropic(base_url=rig.url + prefix, api_key=key, max_retries=0, default_headers=headers)
    _clients.append(client)
    return client


def google(rig: SdkRig, session: str = "none", key: str = KEY) -> genai.Client:
    options = types.HttpOptions(base_url=rig.url, headers={"x-taximeter-session-id": session})
    client = genai.Client(api_key=key, http_options=options)
    _clients.append(client)
    return client


def mp3() -> io.BytesIO:
    file = io.BytesIO(b"ID3" + bytes(5000))
    file.name = "a.mp3"
    return file


# What each SDK makes of the answer.


def chat(rig: SdkRig, session: str) -> str:
    return (
        gpt(rig, session).chat.completions.create(model=GPT, messages=ASK, max_tokens=50).choices[0].message.content
        or ""
    )


def chat_stream(rig: SdkRig, session: str) -> str:
    chunks = list(gpt(rig, session).chat.completions.create(model=GPT, messages=ASK, max_tokens=50, stream=True))
    assert all(chunk.usage is None for chunk in chunks), "usage that was not asked for"
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def chat_stream_usage(rig: SdkRig, session: str) -> str:
    options: Any = {"include_usage": True}
    chunks = list(
        gpt(rig, session).chat.completions.create(model=GPT, messages=ASK, stream=True, stream_options=options)
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 150
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def completions(rig: SdkRig, session: str) -> str:
    return (
        gpt(rig, session)
        .completions.create(model="gpt-3.5-turbo-instruct", prompt=PROMPT, max_tokens=50)
        .choices[0]
        .text
    )


def embeddings(rig: SdkRig, session: str) -> list[float]:
    found = gpt(rig, session).embeddings.create(model="text-embedding-3-small", input=PROMPT, encoding_format="float")
    return found.data[0].embedding


def responses(rig: SdkRig, session: str) -> str:
    return gpt(rig, session).responses.create(model=GPT, input=PROMPT, max_output_tokens=50).output_text


def responses_stream(rig: SdkRig, session: str) -> str:
    with gpt(rig, session).responses.stream(model=GPT, input=PROMPT, max_output_tokens=50) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        usage = stream.get_final_response().usage
    assert usage is not None
    assert usage.total_tokens == 150
    return text


def responses_compact(rig: SdkRig, session: str) -> str:
    found = gpt(rig, session).responses.compact(model=GPT, input=PROMPT)
    return TEXT if found.usage.total_tokens == 150 else ""


def responses_count(rig: SdkRig, session: str) -> int:
    return gpt(rig, session).responses.input_tokens.count(model=GPT, input=PROMPT).input_tokens


def moderations(rig: SdkRig, session: str) -> list[Any]:
    return gpt(rig, session).moderations.create(input=PROMPT).results


def images(rig: SdkRig, session: str) -> str:
    found = gpt(rig, session).images.generate(model="gpt-image-1", prompt=PROMPT, size="1024x1024").data
    return (found or [])[0].b64_json or ""


def images_stream(rig: SdkRig, session: str) -> str:
    stream = gpt(rig, session).images.generate(model="gpt-image-1", prompt=PROMPT, stream=True, partial_images=1)
    return "".join(event.b64_json for event in stream if event.type == "image_generation.completed")


def edits(rig: SdkRig, session: str) -> str:
    found = gpt(rig, session).images.edit(model="gpt-image-1", prompt=PROMPT, image=[PNG, PNG], n=1).data
    return (found or [])[0].b64_json or ""


def transcriptions(rig: SdkRig, session: str) -> str:
    return gpt(rig, session).audio.transcriptions.create(model="gpt-4o-transcribe", file=mp3()).text


def transcriptions_stream(rig: SdkRig, session: str) -> str:
    stream = gpt(rig, session).audio.transcriptions.create(model="gpt-4o-transcribe", file=mp3(), stream=True)
    return "".join(event.delta for event in stream if event.type == "transcript.text.delta")


def translations(rig: SdkRig, session: str) -> str:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        return gpt(rig, session).audio.translations.create(model="whisper-1", file=mp3()).text


def speech(rig: SdkRig, session: str) -> bytes:
    return gpt(rig, session).audio.speech.create(model="tts-1", voice="alloy", input="héllo").read()


def messages(rig: SdkRig, session: str) -> str:
    found = claude(rig, session).messages.create(model=CLAUDE, max_tokens=50, messages=ASK)
    return found.content[0].text if found.content[0].type == "text" else ""


def messages_stream(rig: SdkRig, session: str) -> str:
    with claude(rig, session, prefix="/anthropic").messages.stream(model=CLAUDE, max_tokens=50, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == 30
    return text


def messages_beta(rig: SdkRig, session: str) -> str:
    betas: Any = ["context-1m-2025-08-07"]
    query = {"beta": "true"}  # as Claude Code sends it
    found = claude(rig, session).beta.messages.create(
        model=CLAUDE, max_tokens=50, messages=ASK, betas=betas, extra_query=query
    )
    last = rig.seen()[-1]
    assert last["path"] == "/v1/messages?beta=true"
    assert last["headers"]["anthropic-beta"] == "context-1m-2025-08-07"
    assert last["headers"]["x-api-key"] == "sk-real-anthropic"
    return found.content[0].text if found.content[0].type == "text" else ""


def messages_count(rig: SdkRig, session: str) -> int:
    return claude(rig, session).messages.count_tokens(model=CLAUDE, messages=ASK).input_tokens


def generate(rig: SdkRig, session: str) -> str:
    client = google(rig, session)
    config = types.GenerateContentConfig(max_output_tokens=50)
    return client.models.generate_content(model=GEMINI, contents=PROMPT, config=config).text or ""


def generate_stream(rig: SdkRig, session: str) -> str:
    client = google(rig, session)
    return "".join(c.text or "" for c in client.models.generate_content_stream(model=GEMINI, contents=PROMPT))


def gemini_count(rig: SdkRig, session: str) -> int:
    client = google(rig, session)
    return client.models.count_tokens(model=GEMINI, contents=PROMPT).total_tokens or 0


def gemini_embed(rig: SdkRig, session: str) -> list[float]:
    client = google(rig, session)
    found = client.models.embed_content(model="gemini-embedding-001", contents=PROMPT)
    return (found.embeddings or [])[0].values or []


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the matrix. `used`: what the ledger must say."""

    call: Callable[[SdkRig, str], object]
    operation: str
    stream: bool
    expected: object
    used: dict[str, int]


MATRIX = [
    Case(chat, "chat", False, TEXT, CHAT_USED),
    Case(chat_stream, "chat", True, TEXT, CHAT_USED),
    Case(chat_stream_usage, "chat", True, TEXT, CHAT_USED),
    Case(completions, "completions", False, TEXT, CHAT_USED),
    Case(embeddings, "embeddings", False, [0.5, 0.25], {"input": 6}),
    Case(responses, "responses", False, TEXT, CHAT_USED),
    Case(responses_stream, "responses", True, TEXT, CHAT_USED),
    Case(responses_compact, "responses.compact", False, TEXT, CHAT_USED),
    Case(responses_count, "responses.input_tokens", False, 120, {}),
    Case(moderations, "moderations", False, [], {}),
    Case(images, "images.generations", False, "AAAA", IMAGE_USED),
    Case(images_stream, "images.generations", True, "AAAA", IMAGE_USED),
    Case(edits, "images.edits", False, "AAAA", IMAGE_USED),
    Case(transcriptions, "audio.transcriptions", False, TEXT, TRANSCRIPT_USED),
    Case(transcriptions_stream, "audio.transcriptions", True, TEXT, TRANSCRIPT_USED),
    Case(translations, "audio.translations", False, TEXT, {"audio_second": 7}),
    Case(speech, "audio.speech", False, AUDIO, {"character": 5}),
    Case(messages, "messages", False, TEXT, MESSAGES_USED),
    Case(messages_stream, "messages", True, TEXT, MESSAGES_USED),
    Case(messages_beta, "messages", False, TEXT, MESSAGES_USED),
    Case(messages_count, "count_tokens", False, 120, {}),
    Case(generate, "generate", False, TEXT, CHAT_USED),
    Case(generate_stream, "generate", True, TEXT, CHAT_USED),
    Case(gemini_count, "count_tokens", False, 120, {}),
    Case(gemini_embed, "embeddings", False, [0.5, 0.25], {"input": 6}),
]


@pytest.mark.parametrize("case", MATRIX, ids=lambda case: case.call.__name__)
def test_what_the_client_saw_and_what_the_ledger_says(rig: SdkRig, case: Case) -> None:
    session = f"matrix-{case.call.__name__}"
    assert case.call(rig, session) == case.expected
    entry = rig.entry(session)
    assert (entry["operation"], entry["stream"], entry["status"], entry["outcome"]) == (
        case.operation, case.stream, "settled", "ok",
    )  # fmt: skip
    assert usage_of(entry) == case.used
    assert Decimal(entry["cost_usd"]) == cost_usd(case.used)
    assert entry["flags"] == []


@pytest.mark.parametrize("case", MATRIX, ids=lambda case: case.call.__name__)
def test_the_clients_key_stays_here(rig: SdkRig, case: Case) -> None:
    case.call(rig, "keys")
    assert KEY not in str(rig.seen()[-1]["headers"])
    assert "sk-real-" in str(rig.seen()[-1]["headers"])


# Refusals, as each SDK understands them.


def refused_by_openai(rig: SdkRig, call: Callable[[openai.OpenAI], object], key: str = KEY) -> tuple[int, str | None]:
    with pytest.raises(openai.APIStatusError) as error:
        call(gpt(rig, key=key))
    return error.value.status_code, error.value.code


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_of_responses_and_media(rig: SdkRig, stream: bool) -> None:
    def ask(model: str) -> Callable[[openai.OpenAI], object]:
        return lambda client: client.responses.create(model=model, input=PROMPT, stream=stream)

    assert refused_by_openai(rig, ask(GPT), "sk-nobody") == (401, "invalid_api_key")
    assert refused_by_openai(rig, ask("gpt-0")) == (404, "model_not_found")
    assert refused_by_openai(rig, ask(CLAUDE)) == (400, "dialect_not_supported")
    assert refused_by_openai(rig, ask(GPT), POOR_KEY) == (402, "budget_exceeded")
    assert refused_by_openai(
        rig, lambda c: c.responses.create(model=GPT, input=PROMPT, tools=[{"type": "image_generation"}], stream=stream)
    ) == (400, "unbounded_cost")
    for make in (an_image, some_speech, a_transcript, an_edit):
        assert refused_by_openai(rig, make, POOR_KEY)[0] == 402
        assert refused_by_openai(rig, make, "sk-nobody")[0] == 401


def an_image(client: openai.OpenAI) -> object:
    return client.images.generate(model="gpt-image-1", prompt=PROMPT)


def an_edit(client: openai.OpenAI) -> object:
    return client.images.edit(model="gpt-image-1", prompt=PROMPT, image=PNG)


def some_speech(client: openai.OpenAI) -> object:
    return client.audio.speech.create(model="tts-1", voice="alloy", input=PROMPT)


def a_transcript(client: openai.OpenAI) -> object:
    return client.audio.transcriptions.create(model="whisper-1", file=mp3())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("key", "model", "status", "kind"),
    [
        ("sk-nobody", CLAUDE, 401, "authentication_error"),
        (KEY, "claude-0", 404, "not_found_error"),
        (KEY, GPT, 400, "invalid_request_error"),
        (POOR_KEY, CLAUDE, 402, "billing_error"),
    ],
)
def test_refusals_of_messages(rig: SdkRig, key: str, model: str, status: int, kind: str, stream: bool) -> None:
    with pytest.raises(anthropic.APIStatusError) as error:
        claude(rig, key=key).messages.create(model=model, max_tokens=50, messages=ASK, stream=stream)
    assert error.value.status_code == status
    body: Any = error.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("key", "model", "code", "status"),
    [
        ("sk-nobody", GEMINI, 401, "UNAUTHENTICATED"),
        (KEY, "gemini-0", 404, "NOT_FOUND"),
        (KEY, GPT, 400, "INVALID_ARGUMENT"),
        (POOR_KEY, GEMINI, 402, "RESOURCE_EXHAUSTED"),
    ],
)
def test_refusals_of_gemini(rig: SdkRig, key: str, model: str, code: int, status: str, stream: bool) -> None:
    client = google(rig, key=key)

    def ask() -> object:
        if stream:
            return list(client.models.generate_content_stream(model=model, contents=PROMPT))
        return client.models.generate_content(model=model, contents=PROMPT)

    with pytest.raises(errors.APIError) as error:
        ask()
    assert (error.value.code, error.value.status) == (code, status)


# Streams that break off in the middle: each SDK must learn of it, by its own kind of last event.


def test_a_broken_chat_stream_ends_with_an_error(rig: SdkRig) -> None:
    stream = gpt(rig).chat.completions.create(model="broken-gpt", messages=ASK, stream=True)
    with pytest.raises(openai.APIError) as error:
        list(stream)
    assert error.value.code == "upstream_unreachable"


def test_a_broken_response_ends_as_failed(rig: SdkRig) -> None:
    events = list(gpt(rig).responses.create(model="broken-gpt", input=PROMPT, stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert str(events[-1].response.error.code) == "upstream_unreachable"
    assert events[0].type == "response.created"
    assert (events[-1].response.id, events[-1].response.model) == (events[0].response.id, "broken-gpt")


def test_a_broken_message_ends_with_an_error_event(rig: SdkRig) -> None:
    stream = claude(rig).messages.create(model="broken-claude", max_tokens=50, messages=ASK, stream=True)
    with pytest.raises(anthropic.APIError) as error:
        list(stream)
    body: Any = error.value.body
    assert body["error"]["message"].startswith("upstream_unreachable: ")


def test_a_broken_gemini_stream_ends_with_an_error(rig: SdkRig) -> None:
    client = google(rig)
    stream = client.models.generate_content_stream(model="broken-gemini", contents=PROMPT)
    with pytest.raises(errors.APIError) as error:
        list(stream)
    assert (error.value.code, error.value.status) == (502, "UNAVAILABLE")


# What is stored at a provider.


def test_a_stored_response_belongs_to_its_team(rig: SdkRig) -> None:
    mine, theirs = gpt(rig, "stored"), gpt(rig, "stored", OTHER_KEY)
    one = mine.responses.create(model=GPT, input=PROMPT, max_output_tokens=50)
    assert mine.responses.retrieve(one.id).output_text == TEXT
    assert mine.responses.create(
        model=GPT, input="More.", previous_response_id=one.id, max_output_tokens=50
    ).output_text
    assert mine.responses.cancel(one.id).id
    for call in (
        lambda: theirs.responses.retrieve(one.id),
        lambda: theirs.responses.delete(one.id),
        lambda: theirs.responses.cancel(one.id),
        lambda: theirs.responses.create(model=GPT, input="More.", previous_response_id=one.id),
        lambda: mine.responses.retrieve("resp_unknown"),
        lambda: mine.responses.create(model=GPT, input="More.", conversation="conv_1"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    mine.responses.delete(one.id)
    assert [seen["method"] for seen in rig.seen()[-5:]] == ["POST", "GET", "POST", "POST", "DELETE"]
    costs = {entry["operation"]: Decimal(entry["cost_usd"]) for entry in rig.entries("stored")}
    assert {operation for operation, cost in costs.items() if cost} == {"responses"}


# Streams that say their cost.


@pytest.mark.parametrize(
    ("path", "body", "last", "used"),
    [
        ("/v1/messages", {"model": CLAUDE, "max_tokens": 50, "messages": ASK}, b"event: message_stop", MESSAGES_USED),
        (
            "/v1/responses",
            {"model": GPT, "input": PROMPT, "max_output_tokens": 50},
            b"event: response.completed",
            CHAT_USED,
        ),
        ("/v1/chat/completions", {"model": GPT, "messages": ASK}, b"data: [DONE]", CHAT_USED),
        (
            f"/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse",
            {"contents": [{"parts": [{"text": "a"}]}]},
            b"",
            CHAT_USED,
        ),
    ],
)
def test_a_stream_says_its_cost_before_its_end(
    rig: SdkRig, path: str, body: dict[str, Any], last: bytes, used: dict[str, int]
) -> None:
    headers = {
        "authorization": f"Bearer {KEY}",
        "x-taximeter-session-id": f"cost{path[:11]}",
        "x-taximeter-stream-cost": "1",
    }
    sent = body if "contents" in body else body | {"stream": True}
    blocks = httpx.post(rig.url + path, json=sent, headers=headers).content.strip().split(b"\n\n")
    comment = blocks[-2] if last else blocks[-1]
    assert comment == f": taximeter cost_usd={cost_usd(used):f} session_cost_usd={cost_usd(used):f}".encode()
    assert blocks[-1].startswith(last or b": taximeter")


def test_a_stream_can_carry_its_cost_in_its_usage(rig: SdkRig) -> None:
    headers = {"x-api-key": KEY, "x-taximeter-session-id": "usage", "x-taximeter-stream-cost": "usage"}
    body = {"model": CLAUDE, "max_tokens": 50, "messages": ASK, "stream": True}
    text = httpx.post(f"{rig.url}/v1/messages", json=body, headers=headers).text
    (delta,) = [block for block in text.split("\n\n") if block.startswith("event: message_delta\n")]
    assert Decimal(str(json.loads(delta.partition("data: ")[2])["usage"]["cost"])) == cost_usd(MESSAGES_USED)


def test_a_gemini_stream_as_one_array_is_metered(rig: SdkRig) -> None:
    headers = {"x-goog-api-key": KEY, "x-taximeter-session-id": "array"}
    body = {"contents": [{"parts": [{"text": "a"}]}]}
    answer = httpx.post(f"{rig.url}/v1beta/models/{GEMINI}:streamGenerateContent", json=body, headers=headers)
    assert len(answer.json()) == 2
    assert usage_of(rig.entry("array")) == CHAT_USED
    assert Decimal(answer.headers["x-taximeter-cost-usd"]) == cost_usd(CHAT_USED)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/responses/..%2f..%2fadmin", "code"),
        ("/v1/responses/%2e%2e", "code"),
        ("/v1/chat/completions%3Fx", "code"),
        ("/v1/vector_stores", "code"),
        ("/v1/messages/drafts", "type"),
        ("/v1beta/models/a%23b:generateContent", "status"),
        ("/v1beta/fileSearchStores", "status"),
    ],
)
def test_any_other_path_is_not_found_and_never_sent(rig: SdkRig, path: str, shape: str) -> None:
    before = len(rig.seen())
    answer = httpx.post(rig.url + path, json={}, headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 404
    assert shape in answer.json()["error"]
    assert len(rig.seen()) == before
