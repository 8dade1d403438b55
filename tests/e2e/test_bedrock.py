"""Amazon Bedrock's own API through the real boto3, before a fake that checks signatures and has a bill of its own.

Clients sign with nothing that is right, or send a key of ours as their Bedrock API key; what reaches the provider is signed by us.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from tests.support import aws_sts, bedrock
from tests.support.billed_rig import BilledRig, billed
from tests.support.gateway import server
from tests.support.waiting import eventually

KEY, POOR_KEY, OTHER_KEY = "sk-bedrock-0000000000000001", "sk-bedrock-poor-00000000001", "sk-bedrock-other-0000000001"
SONNET, HAIKU = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"
LLAMA, NOVA, TITAN = "us.meta.llama3-3-70b-instruct-v1:0", "amazon.nova-pro-v1:0", "amazon.titan-embed-text-v2:0"
SONNET_ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{SONNET}"
HAIKU_ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}"
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100}


def config(folder: Path, provider_url: str) -> dict[str, Any]:
    keys = {"aws_access_key_id": bedrock.KEY, "aws_secret_access_key": bedrock.SECRET}
    row = {"provider": "aws", "base_url": provider_url}
    params = {"aws_region_name": bedrock.REGION}
    return {
        "server": server(),
        "upstreams": {
            "bedrock": row | {"params": params | keys | {"deployments": {HAIKU: bedrock.PROFILE}}},
            "by-api-key": row | {"api_key": bedrock.API_KEY, "params": params},
            "by-role": row
            | {"params": params | keys | {"aws_role_name": aws_sts.ROLE, "aws_sts_endpoint": f"{provider_url}/sts"}},
            "by-web-identity": row
            | {
                "params": params
                | {
                    "aws_role_name": aws_sts.ROLE,
                    "aws_web_identity_token": aws_sts.WEB_TOKEN,
                    "aws_sts_endpoint": f"{provider_url}/sts",
                }
            },
            "no-role": row
            | {"params": params | keys | {"aws_role_name": "arn:aws:iam::1:role/other", "aws_sts_endpoint": f"{provider_url}/sts"}},
        },
        "models": {
            "sonnet": {"upstream": "bedrock", "model": SONNET, "retries": 1},
            "profile": {"upstream": "bedrock", "model": HAIKU},
            "by-api-key": {"upstream": "by-api-key", "model": HAIKU},
            "by-role": {"upstream": "by-role", "model": HAIKU},
            "by-web-identity": {"upstream": "by-web-identity", "model": HAIKU},
            "no-role": {"upstream": "no-role", "model": HAIKU},
            "*": {"upstream": "by-api-key"},
        },
        "prices": [{"provider": "aws", "model": TITAN, "input": "0.02"}],
        "keys": [
            {"name": "rich", "key": KEY, "team": "rich"},
            {"name": "poor", "key": POOR_KEY, "team": "poor"},
            {"name": "other", "key": OTHER_KEY, "models": ["sonnet"]},
        ],
        "budgets": [
            {"name": "all", "limit_usd": "1000", "window": "day"},
            {"name": "small", "match": {"team": "poor"}, "limit_usd": "0.000001", "window": "day"},
        ],
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "d"),
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rig(BilledRig):
    open: contextlib.ExitStack

    @cache  # noqa: B019 - as long as the rig
    def client(self, key: str = KEY, *, by: str = "bearer", retries: int = 0) -> Any:
        """boto3's own client, which takes a while to make. by: `bearer` (a Bedrock API key), or `key id`
        (whatever it signs with that)."""
        options = Config(retries={"total_max_attempts": retries + 1}, read_timeout=60)
        signs_with = key if by == "key id" else "AKIDWRONG"
        session = boto3.Session(signs_with, "wrong", region_name="eu-west-3")
        client = session.client("bedrock-runtime", endpoint_url=self.url, config=options)
        if by == "bearer":  # boto3 itself sends a bearer token over TLS only

            def put(request: Any, **_: Any) -> None:
                request.headers["Authorization"] = f"Bearer {key}"

            client.meta.events.register("before-send.bedrock-runtime.*", put)
        self.open.callback(client.close)
        return client

    def entry(self, answer: Any) -> dict[str, Any]:
        """What the ledger has of a call, by the answer's head."""
        request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-taximeter-request-id"]
        entry: dict[str, Any] = eventually(lambda: self.get("/api/requests", request_id=request_id)["items"], bool)[0]
        return entry


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("bedrock")
    with (
        billed(folder, "tests.support.bedrock", lambda url: config(folder, url)) as parts,
        contextlib.ExitStack() as clients,
    ):
        yield Rig(*parts, clients)


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def converse(client: Any, model: str, prompt: str, stream: bool, **more: Any) -> tuple[Any, str]:
    asked = {"modelId": model, "messages": user(prompt), "inferenceConfig": {"maxTokens": 100}, **more}
    if not stream:
        answer = client.converse(**asked)
        return answer, answer["output"]["message"]["content"][0].get("text", "")
    answer = client.converse_stream(**asked)
    events = list(answer["stream"])
    answer["usage"] = next(event["metadata"]["usage"] for event in events if "metadata" in event)
    return answer, "".join(
        event["contentBlockDelta"]["delta"].get("text", "") for event in events if "contentBlockDelta" in event
    )


def invoke(client: Any, model: str, body: dict[str, Any], stream: bool) -> tuple[Any, list[Any]]:
    if not stream:
        answer = client.invoke_model(modelId=model, body=json.dumps(body))
        return answer, [json.loads(answer["body"].read())]
    answer = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    return answer, [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]


@pytest.mark.parametrize("by", ["bearer", "key id"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["sonnet", SONNET, SONNET_ARN, HAIKU_ARN])
def test_converse_costs_what_the_provider_bills(rig: Rig, model: str, stream: bool, by: str) -> None:
    before = rig.lines()

    answer, text = converse(rig.client(by=by), model, "Name an animal with stripes.", stream)

    assert text == bedrock.TEXT
    assert answer["usage"]["outputTokens"] == 9
    entry, (bill,) = rig.entry(answer), rig.lines()[len(before) :]
    assert round(float(entry["cost_usd"]) * 1e9) == bill["nanousd"]
    assert (entry["outcome"], entry["provider"], entry["usage_source"]) == ("ok", "aws", "provider")
    assert float(entry["reserved_usd"]) >= float(entry["cost_usd"])


@pytest.mark.parametrize("stream", [False, True])
def test_cache_writes_are_billed_by_their_lifetimes(rig: Rig, stream: bool) -> None:
    before = rig.lines()
    system = [{"text": "You like zebras."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]

    answer, _ = converse(rig.client(), "sonnet", "Hello.", stream, system=system)

    entry, (bill,) = rig.entry(answer), rig.lines()[len(before) :]
    assert round(float(entry["cost_usd"]) * 1e9) == bill["nanousd"]
    assert entry["usage"] == {"input": 21, "cache_read": 5, "cache_write_5m": 3, "cache_write_1h": 4, "output": 9}
    assert float(entry["reserved_usd"]) >= float(entry["cost_usd"])


@pytest.mark.parametrize(
    ("model", "body", "stream", "text"),
    [
        (HAIKU, CLAUDE | {"messages": [{"role": "user", "content": "Hello."}]}, False, "content"),
        (HAIKU, CLAUDE | {"messages": [{"role": "user", "content": "Hello."}]}, True, "text_delta"),
        (LLAMA, {"prompt": "Hello.", "max_gen_len": 50}, False, "generation"),
        (LLAMA, {"prompt": "Hello.", "max_gen_len": 50}, True, "generation"),
        (
            NOVA,
            {"messages": user("Hello."), "inferenceConfig": {"maxTokens": 50}},
            False,
            "output",
        ),  # counts in headers
        (TITAN, {"inputText": "zebra", "dimensions": 256}, False, "embedding"),
        ("profile", CLAUDE | {"messages": [{"role": "user", "content": "Hello."}]}, False, "content"),
    ],
)
def test_invoke_costs_what_the_provider_bills(
    rig: Rig, model: str, body: dict[str, Any], stream: bool, text: str
) -> None:
    before = rig.lines()

    answer, events = invoke(rig.client(), model, body, stream)

    assert text in json.dumps(events)
    entry, (bill,) = rig.entry(answer), rig.lines()[len(before) :]
    assert round(float(entry["cost_usd"]) * 1e9) == bill["nanousd"]
    assert (entry["outcome"], entry["usage_source"], entry["flags"]) == ("ok", "provider", [])
    assert float(entry["reserved_usd"]) >= float(entry["cost_usd"])


def test_a_tool_is_called_and_a_picture_seen(rig: Rig) -> None:
    tools = {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]}
    picture = {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n" + bytes(64)}}}
    messages = [{"role": "user", "content": [{"text": "TOOL"}, picture]}]

    answer = rig.client().converse(
        modelId="sonnet", messages=messages, toolConfig=tools, inferenceConfig={"maxTokens": 50}
    )

    assert answer["stopReason"] == "tool_use"
    assert answer["output"]["message"]["content"][0]["toolUse"] == {
        "toolUseId": "t1",
        "name": "look",
        "input": {"n": 1},
    }


@pytest.mark.parametrize("how", ["by-api-key", "by-role", "by-web-identity"])
def test_credentials_come_from_where_the_row_says(rig: Rig, how: str) -> None:
    answer, text = converse(rig.client(), how, "Hello.", False)

    assert text == bedrock.TEXT
    assert rig.entry(answer)["outcome"] == "ok"


def test_without_credentials_nothing_is_sent_and_nothing_costs(rig: Rig) -> None:
    with pytest.raises(ClientError) as refused:
        converse(rig.client(), "no-role", "Hello.", False)

    assert refused.value.response["Error"]["Code"] == "ServiceUnavailableException"
    assert "AWS credentials" in str(refused.value)
    assert bedrock.SECRET not in rig.gateway.log.read_text()


@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_aws_own_exceptions(rig: Rig, stream: bool) -> None:
    client = rig.client()
    before = rig.lines()
    with pytest.raises(client.exceptions.ThrottlingException, match="said the provider") as busy:
        converse(client, "profile", "BUSY", stream)
    with pytest.raises(client.exceptions.ValidationException, match="does not like"):
        converse(client, "profile", "WRONG", stream)
    poor = rig.client(POOR_KEY)
    with pytest.raises(poor.exceptions.ServiceQuotaExceededException, match="budget_exceeded: "):
        converse(poor, "profile", "Hello.", stream)
    other = rig.client(OTHER_KEY)
    with pytest.raises(other.exceptions.ResourceNotFoundException, match="model_not_found: "):
        converse(other, HAIKU, "Hello.", stream)
    nobody = rig.client("sk-nobody")
    with pytest.raises(nobody.exceptions.AccessDeniedException, match="invalid_api_key: "):
        converse(nobody, "profile", "Hello.", stream)

    assert busy.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "2"
    assert busy.value.response["ResponseMetadata"]["RequestId"] == "req-1"
    assert rig.lines() == before


def test_a_spent_budget_is_not_asked_again_by_boto3(rig: Rig) -> None:
    poor = rig.client(POOR_KEY, retries=3)

    with pytest.raises(poor.exceptions.ServiceQuotaExceededException) as refused:
        converse(poor, "profile", "Hello.", False)

    assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_what_another_try_mends_is_tried_again(rig: Rig) -> None:
    answer, text = converse(rig.client(), "sonnet", "FLAKY-1", True)

    assert text == bedrock.TEXT
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-taximeter-attempts"] == "2"


def test_a_stream_that_fails_raises_what_it_says(rig: Rig) -> None:
    answer = rig.client().converse_stream(modelId="profile", messages=user("FAILS"), inferenceConfig={"maxTokens": 50})

    with (
        contextlib.closing(answer["stream"]) as stream,
        pytest.raises(EventStreamError, match="modelStreamErrorException"),
    ):
        list(stream)
    assert rig.entry(answer)["outcome"] in ("upstream_error", "client_disconnected")  # whoever is first to leave


def test_a_stream_that_breaks_off_ends_in_an_exception(rig: Rig) -> None:
    answer = rig.client().converse_stream(modelId="profile", messages=user("CUT"), inferenceConfig={"maxTokens": 50})

    with (
        contextlib.closing(answer["stream"]) as stream,
        pytest.raises(EventStreamError, match="serviceUnavailableException"),
    ):
        list(stream)
    assert rig.entry(answer)["outcome"] == "upstream_error"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"guardrailConfig": {"guardrailIdentifier": "abcdef", "guardrailVersion": "1"}}, "guardrailConfig"),
        ({"additionalModelRequestFields": {"max_tokens": 100_000}}, "inferenceConfig.maxTokens"),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, "systemTool"),
    ],
)
def test_what_would_cost_more_than_is_reserved_is_refused_by_name(rig: Rig, asked: dict[str, Any], named: str) -> None:
    client = rig.client()
    before = rig.lines()

    with pytest.raises(client.exceptions.ValidationException, match=named):
        client.converse(modelId="sonnet", messages=user("Hello."), **asked)

    assert rig.lines() == before


def test_objects_of_the_account_are_not_read_for_a_caller(rig: Rig) -> None:
    client = rig.client()
    picture = {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://somebodys/secret.png"}}}}

    with pytest.raises(client.exceptions.ValidationException, match="s3Location"):
        client.converse(modelId="sonnet", messages=[{"role": "user", "content": [picture]}])


@pytest.mark.parametrize(
    ("model", "body", "named"),
    [
        (LLAMA, {"prompt": "Hello.", "max_tokens": 1}, "max_gen_len"),
        (LLAMA, {"prompt": "Hello."}, "nothing caps"),
        (NOVA, {"messages": user("Hello."), "max_tokens": 1}, "inferenceConfig"),
    ],
)
def test_a_cap_that_the_model_does_not_know_bounds_nothing(
    rig: Rig, model: str, body: dict[str, Any], named: str
) -> None:
    client = rig.client()

    with pytest.raises(client.exceptions.ValidationException, match=named):
        invoke(client, model, body, False)


def test_tokens_are_counted_free_of_charge(rig: Rig) -> None:
    asked = {"converse": {"messages": user("Hello.")}}

    told = rig.client().count_tokens(modelId="profile", input=asked)

    assert told["inputTokens"] == 21
    assert rig.entry(told)["cost_usd"] == "0"
