"""Gemini request bodies: two spellings of every field, caps, candidates, media, and the model in the path."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.dialects import family_of_path, find, gemini
from proxy.errors import Refusal, Refused
from tests.support.rows import each_row

CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]


def parse(**changes: Any) -> Any:
    return gemini.parse_generate("m", False, orjson.dumps({"contents": CONTENTS} | changes))


def refusal(**changes: Any) -> Refusal:
    with pytest.raises(Refused) as refused:
        parse(**changes)
    return refused.value.refusal


@pytest.mark.parametrize("config", ["generationConfig", "generation_config"])
@pytest.mark.parametrize("cap", ["maxOutputTokens", "max_output_tokens"])
def test_both_spellings_are_read_and_one_is_forwarded(config: str, cap: str) -> None:
    call = parse(**{config: {cap: 7, "temperature": 1}})
    assert call.output_caps == (7,)
    assert orjson.loads(gemini.encode(call, "m").written({}))["generationConfig"] == {
        "maxOutputTokens": 7,
        "temperature": 1,
    }


@each_row("value", [True, 0, -1, 1.5, "7", [], 2**31])
@each_row("name", ["maxOutputTokens", "candidateCount"])
def test_bounded_numbers_must_be_whole_and_in_range(name: str, value: Any) -> None:
    assert refusal(generationConfig={name: value}).param == name


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"generationConfig": {}, "generation_config": {}}, "generationConfig"),
        ({"GenerationConfig": {}}, "generationConfig"),
        ({"generationConfig": {"MaxOutputTokens": 5}}, "maxOutputTokens"),
        ({"generationConfig": {"maxOutputTokens": 5, "max_output_tokens": 9}}, "maxOutputTokens"),
        ({"generationConfig": 5}, "generationConfig"),
        ({"contents": "hi"}, "contents"),
        ({"contents": []}, "contents"),
        ({"tools": {}}, "tools"),
        ({"base_url": "x"}, "base_url"),
    ],
)
def test_priced_and_bounded_fields_are_read_strictly(changes: dict[str, Any], param: str) -> None:
    assert (refusal(**changes).status, refusal(**changes).param) == (400, param)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "contents": [
                {"parts": [{"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/1?a=b"}}]}
            ]
        },
        {"contents": [{"parts": [{"file_data": {"file_uri": "files/1"}}]}]},
    ],
)
def test_what_nobody_made_here_does_not_exist(changes: dict[str, Any]) -> None:
    assert refusal(**changes).status == 404


@pytest.mark.parametrize("host", ["https://generativelanguage.googleapis.com/v1beta", "http://127.0.0.1:8080/v1"])
def test_a_file_has_to_be_the_teams_own(host: str) -> None:
    call = parse(contents=[{"parts": [{"fileData": {"fileUri": f"{host}/files/ab-1", "mimeType": "video/mp4"}}]}])
    assert call.held == ("files/ab-1",)
    assert call.media_items > len(call.media)  # bounded by the context alone


@pytest.mark.parametrize("name", ["cachedContent", "cached_content"])
def test_a_cache_has_to_be_the_teams_own(name: str) -> None:
    call = parse(**{name: "cachedContents/1"})
    assert (call.held, call.media_items) == (("cachedContents/1",), 1)


@pytest.mark.parametrize(
    ("part", "media"),
    [({"text": "a"}, 0), ({"functionCall": {}, "thoughtSignature": "x"}, 0), ({"inlineData": {}}, 1), ({"inline_data": {}}, 1),
     ({"fileData": {"fileUri": "https://youtu.be/x"}}, 1), ({"functionResponse": {"parts": [{"inlineData": {}}]}}, 1)],
)  # fmt: skip
def test_media(part: dict[str, Any], media: int) -> None:
    assert parse(contents=[{"parts": [part]}]).media_items == media


def test_candidates_and_thinking() -> None:
    call = parse(generationConfig={"candidateCount": 3, "thinkingConfig": {"thinkingBudget": 5000}})
    assert (call.sequences, call.least_output_tokens) == (3, 5001)
    assert parse(generationConfig={"thinkingConfig": {"thinkingBudget": -1}}).least_output_tokens == 1024


def test_grounding_is_counted() -> None:
    call = parse(tools=[{"googleSearch": {}}, {"google_maps": {}}])
    assert (call.extra, call.passes) == ({"grounding": 10, "grounding_maps": 10}, 2)
    assert parse(tools=[{"functionDeclarations": []}]).passes == 1


def test_a_cap_joins_the_rest_of_the_configuration() -> None:
    body: dict[str, Any] = {"generationConfig": {"temperature": 1}}
    assert gemini.cap(body, 5, "google") == {"generationConfig": {"temperature": 1, "maxOutputTokens": 5}}
    assert body == {"generationConfig": {"temperature": 1}}


def test_no_other_model_can_be_named_in_the_body() -> None:
    assert b"pro" not in gemini.encode(parse(model="models/pro"), "m").written({})
    call = gemini.parse_embed("m", orjson.dumps({"requests": [{"model": "models/pro", "content": {"parts": []}}]}))
    assert orjson.loads(gemini.encode(call, "served").written({}))["requests"][0]["model"] == "models/served"
    call = gemini.parse_count("m", orjson.dumps({"generateContentRequest": {"model": "models/pro"}}))
    assert orjson.loads(gemini.encode(call, "served").written({}))["generateContentRequest"]["model"] == "models/served"


@pytest.mark.parametrize(
    ("action", "query", "target", "stream"),
    [
        ("generateContent", b"", "generateContent", False),
        ("streamGenerateContent", b"alt=sse&key=k", "streamGenerateContent?alt=sse", True),
        ("streamGenerateContent", b"", "streamGenerateContent", False),
    ],
)
def test_the_model_stands_in_the_path(action: str, query: bytes, target: str, stream: bool) -> None:
    endpoint = find("POST", f"/v1beta/models/gemini-2.5-flash:{action}", query)
    assert endpoint is not None
    call = endpoint.parse(orjson.dumps({"contents": CONTENTS}))
    assert (call.model, call.stream) == ("gemini-2.5-flash", stream)
    assert endpoint.target_of("real", query) == f"/v1beta/models/real:{target}"


@each_row(
    "path",
    ["models/a/b:generateContent", "models/..:generateContent", "models/:generateContent", "models/a:predict", "models/a",
     "models/a?b:generateContent", "models/a#:generateContent", "models/a%2e:generateContent", "models/a:generateContent/",
     "tunedModels/a:generateContent", "cachedContents", "files"],
)  # fmt: skip
def test_tricks_with_paths_find_nothing(path: str) -> None:
    assert find("POST", f"/v1beta/{path}", b"") is None
    assert family_of_path(f"/v1beta/{path}", {}).name == "gemini"


@pytest.mark.parametrize(
    ("status", "name"), [(400, "INVALID_ARGUMENT"), (402, "RESOURCE_EXHAUSTED"), (404, "NOT_FOUND")]
)
def test_refusals_wear_googles_shape(status: int, name: str) -> None:
    error = orjson.loads(gemini.refusal_body(Refusal(status, "why_not", "why")))["error"]
    assert (error["code"], error["status"], error["message"]) == (status, name, "why")
    assert error["details"][0]["reason"] == "why_not"
