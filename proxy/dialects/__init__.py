"""The client-facing side of every wire format that is proxied: one file a format, one line here for each path.

A dialect parses requests, shapes refusals and ends cut streams; it does no I/O and never sees money.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import cast

from proxy.dialects import (
    anthropic,
    bedrock,
    bedrock_pictures,
    deployments,
    fields,
    gemini,
    media,
    openai,
    pictures,
    responses,
    scoring,
    streams,
)
from proxy.dialects.endpoint import Counting
from proxy.dialects.endpoint import Endpoint as Endpoint
from proxy.dialects.family import Family as Family
from proxy.dialects.vendors import VENDORS
from proxy.errors import method_not_allowed
from proxy.types import Call


def _everything(call: Call) -> bool:
    return True


OPENAI = Family("openai", openai.refusal_body, openai.stream_end)
RESPONSES = Family("openai", openai.refusal_body, responses.stream_end)
ANTHROPIC = Family(
    "anthropic", anthropic.refusal_body, anthropic.stream_end, headers={b"anthropic-version": anthropic.VERSION}
)
GEMINI = Family("gemini", gemini.refusal_body, gemini.stream_end)
BEDROCK = Family(
    "bedrock",
    bedrock.refusal_body,
    bedrock.stream_end,
    answer_headers=bedrock.ANSWER_HEADERS,
    refusal_headers=bedrock.refusal_headers,
)

_OPENAI_ENDPOINTS = (
    Endpoint(
        OPENAI,
        "chat",
        "/chat/completions",
        openai.parse_chat,
        openai.cap_chat,
        holds=openai.makes_audio,
        translatable="openai",
        counting=(
            Counting(frozenset({"vllm"}), openai.tokenize_request, "count"),
            Counting(openai.LLAMA_CPP, openai.count_request, "input_tokens"),
        ),
    ),
    Endpoint(OPENAI, "completions", "/completions", openai.parse_completions, openai.cap_completions),
    Endpoint(OPENAI, "embeddings", "/embeddings", openai.parse_embeddings, openai.cap_nothing, translatable="openai"),
    Endpoint(OPENAI, "rerank", "/rerank", scoring.parse_rerank, openai.cap_nothing, local=True),
    Endpoint(OPENAI, "score", "/score", scoring.parse_score, openai.cap_nothing, local=True),
    Endpoint(OPENAI, "pooling", "/../pooling", scoring.parse_pooling, openai.cap_nothing, local=True),
    Endpoint(
        RESPONSES,
        "responses",
        "/responses",
        responses.parse,
        responses.cap,
        form=streams.RESPONSES,
        holds=_everything,
        translatable="responses",
        counting=(Counting(frozenset({"openai"}) | openai.LLAMA_CPP, responses.count_request, "input_tokens"),),
    ),
    Endpoint(
        RESPONSES,
        "responses.compact",
        "/responses/compact",
        responses.parse_compact,
        openai.cap_nothing,
        holds=_everything,
    ),
    Endpoint(
        RESPONSES, "responses.input_tokens", "/responses/input_tokens", responses.parse_input_tokens, openai.cap_nothing
    ),
    Endpoint(OPENAI, "moderations", "/moderations", media.parse_moderations, openai.cap_nothing),
    Endpoint(
        OPENAI,
        "images.generations",
        "/images/generations",
        media.parse_images,
        openai.cap_nothing,
        form=streams.MEDIA,
        of_model=pictures.of_model,
    ),
    Endpoint(
        OPENAI,
        "images.edits",
        "/images/edits",
        media.parse_edits,
        openai.cap_nothing,
        encode=media.encode_form,
        form=streams.MEDIA,
        of_model=pictures.of_model,
    ),
    *(
        Endpoint(
            OPENAI,
            f"audio.{name}",
            f"/audio/{name}",
            partial(media.parse_transcription, f"audio.{name}"),
            openai.cap_nothing,
            encode=media.encode_form,
            form=streams.MEDIA,
        )
        for name in ("transcriptions", "translations")
    ),
    Endpoint(OPENAI, "audio.speech", "/audio/speech", media.parse_speech, openai.cap_nothing, form=streams.MEDIA),
)
_BETA = frozenset({"beta=true"})
_ANTHROPIC_ENDPOINTS = (
    Endpoint(
        ANTHROPIC, "messages", "/v1/messages", anthropic.parse_messages, anthropic.cap_messages,
        form=streams.MESSAGES, queries=_BETA, holds=anthropic.keeps_something, translatable="anthropic",
        counting=(
            Counting(frozenset({"anthropic", "vllm"}) | openai.LLAMA_CPP, anthropic.count_request, "input_tokens"),
        ),
    ),
    Endpoint(
        ANTHROPIC, "count_tokens", "/v1/messages/count_tokens", anthropic.parse_count_tokens, openai.cap_nothing,
        queries=_BETA,
    ),
)  # fmt: skip


def _paths() -> dict[str, Endpoint]:
    """OpenAI's paths stand with and without /v1, and with the prefix /openai; Anthropic's also under /anthropic."""
    paths = {
        prefix + version + endpoint.target.removeprefix("/.."): endpoint
        for endpoint in _OPENAI_ENDPOINTS
        for prefix in ("", "/openai")
        for version in ("/v1", "")
    }
    paths["/v2/rerank"] = paths["/rerank"]
    return paths | {
        prefix + endpoint.target: endpoint for endpoint in _ANTHROPIC_ENDPOINTS for prefix in ("", "/anthropic")
    }


ENDPOINTS: dict[str, Endpoint] = _paths()
_OF_DEPLOYMENTS = {endpoint.target: endpoint for endpoint in _OPENAI_ENDPOINTS if not endpoint.local}
MODELS_PATHS = frozenset({
    "/v1/models", "/models", "/openai/v1/models", "/openai/models", "/anthropic/v1/models", "/v1beta/models",
})  # fmt: skip
_FAMILIES_BY_PREFIX = (
    ("/anthropic/", ANTHROPIC),
    ("/v1/messages", ANTHROPIC),
    ("/v1beta/", GEMINI),
    ("/upload/", GEMINI),
    ("/ws/google.ai.", GEMINI),
    ("//ws/google.ai.", GEMINI),
    ("/v1/models/", GEMINI),
    ("/model/", BEDROCK),
    ("/bedrock/", BEDROCK),
    *((f"{vendor.prefix}/", vendor) for vendor in VENDORS),
    ("/v1/cachedContents", GEMINI),
)


_GEMINI_PREFIXES = ("/v1beta/models/", "/v1/models/")  # the newest SDKs call v1, all others v1beta
_GEMINI = re.compile(
    r"/(v1beta|v1)/models/([A-Za-z0-9][A-Za-z0-9._-]{0,199})"
    r":(generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents)\Z"
)
_BEDROCK_PREFIXES = ("/model/", "/bedrock/model/")
_BEDROCK = re.compile(
    r"(?:/bedrock)?/model/([A-Za-z0-9][A-Za-z0-9._:/@+-]{0,255})"
    r"/(converse|converse-stream|invoke|invoke-with-response-stream|count-tokens)\Z"
)
_SSE = frozenset({"alt=sse"})
_GEMINI_COUNTING = (Counting(frozenset({"google"}), gemini.count_request, "totalTokens"),)
_STORED = re.compile(r"(?:/openai)?(?:/v1)?/responses/([A-Za-z0-9_-]{1,200})(/cancel)?\Z")


def find(method: str, path: str, query: bytes) -> Endpoint | None:
    """The endpoint of a path; None where there is none. Raises `Refused` (405)."""
    endpoint = ENDPOINTS.get(path)
    if endpoint is None:
        if path.startswith(_GEMINI_PREFIXES):
            return _find_gemini(method, path, query)
        if path.startswith(_BEDROCK_PREFIXES):
            return _find_bedrock(method, path)
        if path.startswith(deployments.PREFIX):
            return _find_deployed(method, path)
        return _find_stored(method, path) if "/responses/" in path else None
    if method != "POST":
        raise method_not_allowed("POST")
    return endpoint


def _find_gemini(method: str, path: str, query: bytes) -> Endpoint | None:
    """What Gemini does with a model: both stand in the path."""
    match = _GEMINI.match(path)
    if match is None:
        return None
    if method != "POST":
        raise method_not_allowed("POST")
    version, model, action = match[1], match[2], match[3]
    parse: Callable[[bytes], Call]
    if action == "countTokens":
        parse, operation, cap = partial(gemini.parse_count, model), "count_tokens", openai.cap_nothing
    elif action in ("embedContent", "batchEmbedContents"):
        parse, operation, cap = partial(gemini.parse_embed, model), "embeddings", openai.cap_nothing
    else:
        stream = action == "streamGenerateContent" and b"alt=sse" in query.split(b"&")
        parse, operation, cap = partial(gemini.parse_generate, model, stream), "generate", gemini.cap
    return Endpoint(
        GEMINI, operation, f"/{version}/models/{{model}}:{action}", parse, cap,
        encode=gemini.encode, form=streams.GEMINI, queries=_SSE,
        counting=_GEMINI_COUNTING if operation == "generate" else (),
    )  # fmt: skip


def _find_bedrock(method: str, path: str) -> Endpoint | None:
    """What Bedrock does with a model: both stand in the path."""
    match = _BEDROCK.match(path)
    if match is None or ".." in match[1]:
        return None
    if method != "POST":
        raise method_not_allowed("POST")
    model, action = match[1], match[2]
    stream = "stream" in action
    parse: Callable[[bytes], Call]
    form, cap, of_headers, of_model = streams.CONVERSE, bedrock.cap_converse, None, None
    if action == "count-tokens":
        parse, operation, cap = partial(bedrock.parse_count, model), "count_tokens", openai.cap_nothing
    elif action.startswith("converse"):
        parse, operation = partial(bedrock.parse_converse, model, stream), "converse"
    else:
        parse, operation = partial(bedrock.parse_invoke, model, stream), "invoke"
        form, cap, of_headers = streams.INVOKE, bedrock.cap_invoke, bedrock.with_headers
        of_model = bedrock_pictures.of_model
    return Endpoint(
        BEDROCK, operation, f"/model/{{model}}/{action}", parse, cap,
        encode=bedrock.encode, form=form, quoted=True, of_headers=of_headers, of_model=of_model,
    )  # fmt: skip


def _find_deployed(method: str, path: str) -> Endpoint | None:
    """One of OpenAI's endpoints, for the model that stands in the path."""
    named = deployments.deployment_in(path, _OF_DEPLOYMENTS)
    if named is None:
        return None
    if method != "POST":
        raise method_not_allowed("POST")
    name, operation = named
    endpoint = _OF_DEPLOYMENTS[operation]
    parse = cast(deployments.ParseNamed, endpoint.parse)
    return replace(endpoint, parse=partial(deployments.parse_for, name, parse))


def _find_stored(method: str, path: str) -> Endpoint | None:
    """What can be done with one stored response: get, delete or cancel it."""
    match = _STORED.match(path)
    if match is None:
        return None
    allowed = {"POST": "cancel"} if match[2] else {"GET": "get", "DELETE": "delete"}
    if method not in allowed:
        raise method_not_allowed(" or ".join(allowed))
    operation = f"responses.{allowed[method]}"
    return Endpoint(
        RESPONSES, operation, f"/responses/{match[1]}{match[2] or ''}",
        partial(responses.parse_stored, operation, match[1]), openai.cap_nothing,
        encode=fields.encode_nothing, method=method.encode(),
    )  # fmt: skip


def family_of_client(headers: Mapping[bytes, bytes]) -> Family:
    """Whose SDK a request of a path comes from that several APIs have (`/v1/files`, `/v1/batches`)."""
    if b"x-goog-api-key" in headers:
        return GEMINI
    return ANTHROPIC if b"anthropic-version" in headers else OPENAI


def family_of_path(path: str, headers: Mapping[bytes, bytes]) -> Family:
    """Whose error shape a refusal of this path wears."""
    endpoint = ENDPOINTS.get(path)
    if endpoint is not None:
        return endpoint.family
    if path.startswith("/v1/models/") and ":" not in path:  # one of OpenAI's models is asked for, or of Anthropic's
        return family_of_client(headers)
    named = next((family for prefix, family in _FAMILIES_BY_PREFIX if path.startswith(prefix)), None)
    return named or family_of_client(headers)
