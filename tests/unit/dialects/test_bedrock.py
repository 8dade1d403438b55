"""Bedrock's paths, what bounds a body of any maker, and how caps are lowered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.dialects import bedrock, find
from proxy.errors import Refusal, Refused
from proxy.wire.aws_event_stream import Framer
from tests.support.rows import each_row

CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.mark.parametrize("prefix", ["", "/bedrock"])
@pytest.mark.parametrize(
    "action", ["converse", "converse-stream", "invoke", "invoke-with-response-stream", "count-tokens"]
)
def test_an_arn_is_one_segment_of_the_path_at_the_provider(prefix: str, action: str) -> None:
    endpoint = find("POST", f"{prefix}/model/{ARN}/{action}", b"x=1")

    assert endpoint is not None
    body = CLAUDE if "invoke" in action else {"messages": [{"role": "user", "content": [{"text": "x"}]}]}
    call = endpoint.parse(json.dumps(body).encode())
    assert (call.model, call.stream) == (ARN, "stream" in action)
    assert endpoint.target_of(ARN, b"x=1") == f"/model/{ARN.replace(':', '%3A').replace('/', '%2F')}/{action}"


@pytest.mark.parametrize(
    "path",
    [
        "/model/../converse",
        "/model/a/../b/converse",
        "/model/a/apply",
        "/model//converse",
        "/model/a b/converse",
        "/model/a",
    ],
)
def test_other_paths_are_nobodys(path: str) -> None:
    assert find("POST", path, b"") is None


def invoked(body: dict[str, Any], model: str = "alias") -> Any:
    return bedrock.parse_invoke(model, False, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("body", "caps", "lowered"),
    [
        (CLAUDE, (100,), {"max_tokens": 10}),
        ({"prompt": "x", "max_gen_len": 100}, (100,), {"max_gen_len": 10}),
        ({"prompt": "x", "max_gen_len": 5, "max_tokens": 900}, (900, 5), {"max_gen_len": 5, "max_tokens": 10}),
        ({"inputText": "x", "textGenerationConfig": {"maxTokenCount": 99, "topP": 1}}, (99,),
         {"textGenerationConfig": {"maxTokenCount": 10, "topP": 1}}),
        ({"messages": [], "inferenceConfig": {"max_new_tokens": 99}}, (99,), {"inferenceConfig": {"max_new_tokens": 10}}),
        ({"messages": [], "schemaVersion": "messages-v1"}, (), {"inferenceConfig": {"maxTokens": 10}}),
        ({"messages": []}, (), {"max_tokens": 10}),
    ],
)  # fmt: skip
def test_the_largest_of_all_caps_bounds_the_call_and_all_are_lowered(
    body: dict[str, Any], caps: tuple[int, ...], lowered: dict[str, Any]
) -> None:
    assert invoked(body).output_caps == caps
    assert bedrock.cap_invoke(body, 10, "aws") == lowered


@each_row("cap", [0, -1, True, 1.5, "9", 2**40])
@each_row("path", [("max_gen_len",), ("inferenceConfig", "maxTokens"), ("textGenerationConfig", "maxTokenCount")])
def test_a_cap_that_is_no_number_of_tokens_is_refused(path: tuple[str, ...], cap: Any) -> None:
    body: dict[str, Any] = {path[0]: cap} if len(path) == 1 else {path[0]: {path[1]: cap}}
    with pytest.raises(Refused) as refused:
        invoked({"prompt": "x", **body})
    assert refused.value.refusal.param == path[-1]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("us.meta.llama3-3-70b-instruct-v1:0", {"prompt": "x", "max_tokens": 1}),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-70b-instruct-v1:0", {"prompt": "x", "max_tokens": 1}),
        ("amazon.titan-text-express-v1", {"inputText": "x", "max_tokens": 1}),
        ("amazon.titan-text-express-v1", {"inputText": "x", "dimensions": 1}),
        ("eu.amazon.nova-lite-v1:0", {"messages": [], "max_tokens": 1}),
        ("mistral.mistral-large-2402-v1:0", {"prompt": "x", "max_gen_len": 1}),
        ("anthropic.claude-v2", {"prompt": "x", "max_gen_len": 1}),
    ],
)
def test_a_cap_of_another_makers_is_refused_by_the_right_ones_name(model: str, body: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="invalid_request_error") as refused:
        bedrock.encode(invoked(body), model)
    assert "output cap is" in refused.value.refusal.message


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": "x", "dimensions": 256}),
        ("cohere.embed-english-v3", {"texts": ["x"], "input_type": "search_query"}),
        ("cohere.rerank-v3-5:0", {"query": "x", "documents": ["y"], "api_version": 2}),
    ],
)
def test_vectors_and_ranks_write_nothing(model: str, body: dict[str, Any]) -> None:
    if "api_version" in body:
        body.pop("api_version")
    call = invoked(body, model)
    assert call.output_caps == (0,)
    bedrock.encode(call, model)


@each_row("model", ["moonshotai.kimi-k2.5", "minimax.minimax-m2", "google.gemma-3-27b-it", "an-imported-one"])
@each_row("extra", [{"documents": []}, {"dimensions": 1}, {"normalize": True}, {"texts": ["x"]}])
def test_a_field_of_vectors_makes_no_answer_free(model: str, extra: dict[str, Any]) -> None:
    assert invoked({"messages": [{"role": "user", "content": "x"}], **extra}, model).output_caps == ()
    assert invoked({"prompt": "x", **extra}, model).unbounded
    assert invoked({"message": "x", **extra}, model).unbounded


@pytest.mark.parametrize(
    ("more", "cap", "sequences"),
    [
        ({"inferenceConfig": {"maxTokens": 5000}}, 5000, 1),
        ({"max_gen_len": 2000}, 2000, 1),
        ({"textGenerationConfig": {"maxTokenCount": 700}}, 700, 1),
        ({"max_new_tokens": 50, "n": 3}, 100, 3),
    ],
)
def test_a_body_that_looks_like_claudes_is_bounded_by_all_of_its_caps(
    more: dict[str, Any], cap: int, sequences: int
) -> None:
    call = invoked({**CLAUDE, **more}, "amazon.nova-pro-v1:0")

    assert (max(call.output_caps), call.sequences) == (cap, sequences)
    assert invoked({**CLAUDE, "taskType": "TEXT_IMAGE"}).unbounded


@pytest.mark.parametrize(
    "more",
    [
        {"MAX_GEN_LEN": 7}, {"Max_Tokens": 7}, {"maxtokens": 7}, {"N": 4}, {"InferenceConfig": {}},
        {"inferenceConfig": {"MAXTOKENS": 9}}, {"textGenerationConfig": {"maxtokencount": 9}},
    ],
)  # fmt: skip
def test_a_cap_in_other_letters_is_refused(more: dict[str, Any]) -> None:
    for body in ({"prompt": "x", "max_gen_len": 5}, CLAUDE):
        with pytest.raises(Refused):
            invoked({**body, **more})


def test_sequences_are_counted() -> None:
    assert invoked({"prompt": "x", "max_tokens": 9, "num_generations": 4}).sequences == 4
    assert converse([{"text": "x"}], additionalModelRequestFields={"num_generations": 5}).sequences == 5


def converse(content: Any, **more: Any) -> Any:
    raw = json.dumps({"messages": [{"role": "user", "content": content}], **more}).encode()
    return bedrock.parse_converse("m", False, raw)


@each_row(
    ("block", "kinds"),
    [
        ({"text": "x"}, []),
        ({"image": {"format": "png", "source": {"bytes": "iVBO"}}}, ["image"]),
        ({"document": {"format": "pdf", "name": "d", "source": {"bytes": "JVBE"}}}, ["pdf"]),
        ({"document": {"format": "docx", "name": "d", "source": {"bytes": "UEsD"}}}, [""]),
        ({"document": {"format": "txt", "name": "d", "source": {"bytes": "eA=="}}}, []),
        ({"document": {"format": "txt", "name": "d", "source": {"text": "x"}}}, []),
        ({"video": {"format": "mp4", "source": {"bytes": "AAAA"}}}, ["video"]),
        (
            {"toolResult": {"toolUseId": "t", "content": [{"json": {}}, {"image": {"source": {"bytes": "iVBO"}}}]}},
            ["image"],
        ),
        ({"guardContent": {"image": {"format": "png", "source": {"bytes": "iVBO"}}}}, ["image"]),
        ({"cachePoint": {"type": "default"}}, []),
        ({"invented": {"x": 1}}, [""]),
        ({"image": "odd"}, [""]),
    ],
)
def test_media_are_found_wherever_they_stand(block: Any, kinds: list[str]) -> None:
    assert [medium.kind for medium in converse([block]).media] == kinds


@pytest.mark.parametrize("kind", ["image", "video", "document", "audio"])
def test_objects_of_the_accounts_storage_are_refused(kind: str) -> None:
    inner = {kind: {"format": "x", "source": {"s3Location": {"uri": "s3://a/b"}}}}
    for block in (inner, {"toolResult": {"toolUseId": "t", "content": [inner]}}, {"guardContent": inner}):
        with pytest.raises(Refused):
            converse([block])


@pytest.mark.parametrize(
    "more",
    [
        {"additionalModelRequestFields": {"max_tokens": 5}},
        {"additionalModelRequestFields": {"inferenceConfig": {"max_new_tokens": 5}}},
        {"inferenceconfig": {"maxTokens": 5}},
        {"inferenceConfig": {"maxtokens": 5}},
        {"inferenceConfig": {"max_tokens": 5}},
        {"inferenceConfig": {"maxTokens": "5"}},
        {"inferenceConfig": 5},
        {"aws_region_name": "x"},
    ],
)
def test_a_second_cap_and_other_spellings_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        converse([{"text": "x"}], **more)


def test_thinking_and_betas_of_the_makers_own_are_known() -> None:
    fields = {"thinking": {"type": "enabled", "budget_tokens": 4000}, "anthropic_beta": ["context-1m-2025-08-07", 5]}

    call = converse([{"text": "x"}], additionalModelRequestFields=fields)

    assert call.least_output_tokens == 4001
    assert call.betas == ("context-1m-2025-08-07",)


@pytest.mark.parametrize(
    ("refusal", "name", "in_streams"),
    [
        (Refusal(402, "budget_exceeded", "No.", final=True), "ServiceQuotaExceededException", "validationException"),
        (Refusal(429, "budget_exceeded", "No.", final=True), "ServiceQuotaExceededException", "validationException"),
        (Refusal(429, "too_many_in_flight", "No."), "ThrottlingException", "throttlingException"),
        (Refusal(404, "model_not_found", "No."), "ResourceNotFoundException", "validationException"),
        (Refusal(502, "upstream_unreachable", "No."), "ServiceUnavailableException", "serviceUnavailableException"),
        (Refusal(500, "internal_error", "No."), "InternalServerException", "internalServerException"),
    ],
)
def test_a_refusal_is_one_of_awss_exceptions(refusal: Refusal, name: str, in_streams: str) -> None:
    assert bedrock.refusal_headers(refusal) == [(b"x-amzn-errortype", name.encode())]
    body = json.loads(bedrock.refusal_body(refusal))
    assert (body["__type"], body["message"], body["reason"]) == (name, f"{refusal.code}: No.", refusal.code)
    (message,) = Framer().feed(bedrock.stream_end(refusal))
    assert (message.event, message.failed) == (in_streams, True)


@pytest.mark.parametrize(
    ("header", "fine"),
    [
        (b"x-amzn-bedrock-service-tier", [b"default", b""]),
        (b"x-amzn-bedrock-performanceconfig-latency", [b"standard"]),
        (b"x-amzn-bedrock-guardrailidentifier", []),
    ],
)
def test_a_header_that_changes_the_answer_or_its_price_is_refused_by_name(header: bytes, fine: list[bytes]) -> None:
    call = invoked(CLAUDE)
    for value in fine:
        assert bedrock.with_headers(call, {header: value}) is call
    with pytest.raises(Refused) as refused:
        bedrock.with_headers(call, {header: b"priority"})
    assert refused.value.refusal.param == header.decode()


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"thread": {"type": "continue", "previous_message_id": "msg_1"}}, 404),
        ({"container": "container_1"}, 404),
        ({"messages": [{"role": "user", "content": [{"type": "container_upload", "file_id": "file_1"}]}]}, 404),
        ({"tools": [{"type": "advisor_20260301", "name": "a"}]}, 0),
        ({"fallbacks": [{"model": "x"}]}, 0),
    ],
)
def test_what_is_passed_on_to_the_maker_is_looked_at(more: dict[str, Any], status: int) -> None:
    if status:
        with pytest.raises(Refused) as refused:
            converse([{"text": "x"}], additionalModelRequestFields=more)
        assert refused.value.refusal.status == status
    else:
        assert converse([{"text": "x"}], additionalModelRequestFields=more).unbounded


@pytest.mark.parametrize(
    "more", [{"compaction": {"type": "summarize"}}, {"context_management": {"edits": [{"type": "compact_1"}]}}]
)
def test_a_summary_that_is_passed_on_reads_the_context_once_more(more: dict[str, Any]) -> None:
    call = converse([{"text": "x"}], additionalModelRequestFields=more)
    assert (call.passes, call.beside_tokens) == (2, 16_384)
    assert (
        converse([{"text": "x"}], additionalModelRequestFields={"mcp_servers": [{"type": "url", "name": "x"}]}).passes
        > 2
    )
