"""What LiteLLM is told of a call's upstream: the provider's own names of models, and what they are."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.upstream import Upstream
from proxy.translate.providers import is_plain, target_of
from tests.support.rows import each_row

ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"
AZURE = {"provider": "azure", "base_url": "https://x.openai.azure.com", "api_key": "0123456789abcdef"}
FOUNDRY = {"provider": "azure-ai-foundry", "base_url": "https://x.services.ai.azure.com", "api_key": "0123456789abcdef"}


def row(deployments: dict[str, str], **more: Any) -> Upstream:
    params = {"deployments": deployments, **more.pop("params", {})}
    return Upstream(via="litellm", params=params, **more)


@each_row(
    ("model", "deployed", "operation", "told"),
    [
        ("gpt-4.1-mini", "ours", "chat", "azure/ours"),
        ("gpt-5-mini", "ours", "chat", "azure/gpt5_series/ours"),
        ("gpt-5.2-2025-12-11", "ours", "messages", "azure/gpt5_series/ours"),
        ("gpt-6-sol", "ours", "chat", "azure/gpt5_series/ours"),
        ("gpt-5-chat-latest", "ours", "chat", "azure/ours"),
        ("gpt-5.1-chat", "ours", "chat", "azure/ours"),
        ("o4-mini", "ours", "chat", "azure/o_series/ours"),
        ("o3", "ours", "messages", "azure/o_series/ours"),
        ("o3", "ours", "responses", "azure/ours"),
        ("gpt-5-mini", "ours", "responses", "azure/ours"),
        ("gpt-5-mini", "gpt-5-mini-prod", "chat", "azure/gpt-5-mini-prod"),
        ("text-embedding-3-small", "ours", "embeddings", "azure/ours"),
    ],
)
def test_a_deployment_is_asked_as_the_model_that_it_is(model: str, deployed: str, operation: str, told: str) -> None:
    """LiteLLM goes by the name: a GPT-5 called otherwise would get `max_tokens`, which Azure refuses there."""
    assert target_of("a", row({model: deployed}, **AZURE), model, operation).model == told


def test_claude_on_foundry_is_asked_as_claude_whatever_it_is_called() -> None:
    target = target_of("f", row({"claude-sonnet-4-5": "ours"}, **FOUNDRY), "claude-sonnet-4-5", "chat")

    assert (target.model, target.provider) == ("anthropic/ours", "anthropic")
    assert target.options["api_base"] == "https://x.services.ai.azure.com/anthropic"
    assert target.options["api_key"] == FOUNDRY["api_key"]


@pytest.mark.parametrize(
    ("base_url", "params", "version"),
    [
        ("https://x.openai.azure.com/openai/v1", {}, "v1"),
        ("https://x.services.ai.azure.com/openai/v1/", {}, "v1"),
        ("https://x.openai.azure.com/openai/v1", {"api_version": "preview"}, "preview"),
        ("https://x.openai.azure.com", {}, None),
    ],
)
def test_azures_v1_api_needs_no_version(base_url: str, params: dict[str, str], version: str | None) -> None:
    made = row({}, **AZURE | {"base_url": base_url}, params=params)

    assert target_of("a", made, "gpt-4.1", "messages").options.get("api_version") == version


def test_other_models_of_foundry_have_their_own_names_and_api() -> None:
    target = target_of("f", row({"deepseek-r1": "our-r1"}, **FOUNDRY), "deepseek-r1", "chat")

    assert (target.model, target.provider) == ("azure_ai/our-r1", "azure_ai")


@pytest.mark.parametrize(("route", "told"), [(None, "bedrock/converse/"), ("invoke", "bedrock/invoke/")])
def test_an_arn_that_names_no_model_is_asked_by_converse(route: str | None, told: str) -> None:
    params = {"aws_region_name": "us-east-1"} | ({"route": route} if route else {})
    made = row({"anthropic.claude-3-haiku-20240307-v1:0": ARN}, provider="aws", params=params)

    assert target_of("b", made, "anthropic.claude-3-haiku-20240307-v1:0", "chat").model == told + ARN


def test_what_prices_depend_on_is_nothing_to_litellm() -> None:
    made = row({}, **AZURE, params={"deployment_type": "DataZoneStandard", "zone": "eu", "api_version": "2024-10-21"})

    assert sorted(target_of("a", made, "gpt-4.1", "chat").options) == ["api_base", "api_key", "api_version"]


@each_row(
    ("provider", "model", "plain"),
    [
        ("aws", "anthropic.claude-3-haiku-20240307-v1:0", True),
        (
            "aws",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            True,
        ),
        ("aws", ARN, True),
        ("aws", "agent/ABCDEF/GHIJKL", False),
        ("aws", "agentcore/arn:aws:bedrock-agentcore:us-west-2:1:runtime/x", False),
        ("aws", "arn:aws:bedrock-agentcore:us-west-2:1:runtime/x", False),
        ("aws", "arn:aws:bedrock:us-east-1:1:inference-profile/../x", False),
        ("aws", "mantle/x", False),
        ("aws", "us-west-2/anthropic.claude-3-haiku-20240307-v1:0", False),
        ("azure", "gpt-4.1", True),
        ("azure", "responses/gpt-4.1", False),
        ("azure-ai-foundry", "agents/asst_1", False),
        ("openai", "responses/gpt-5", False),
        ("google", "gemini-2.5-flash", True),
        ("google-vertex", "deepseek-ai/deepseek-v3.1-maas", True),
        ("google-vertex", "openai/gpt-oss-120b-maas", True),
        ("google-vertex", "openai/1234567890", False),
        ("google-vertex", "1234567890", False),
        ("google-vertex", "agent_engine/1234567890", False),
        ("watsonx", "ibm/granite-3-8b-instruct", True),
        ("watsonx", "deployment/0123", False),
        ("acme", "meta-llama/Llama-3.3-70B-Instruct", True),
    ],
)
def test_a_name_that_a_client_chose_names_a_model_and_nothing_else(provider: str, model: str, plain: bool) -> None:
    """LiteLLM asks an agent of the account, another API or a host in another region for some names."""
    made = Upstream(via="litellm", provider=provider, base_url="https://x.example.com")

    assert is_plain(made, "x", model) == plain


KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("upstream", "environ", "expected"),
    [
        (AZURE, {}, True),
        ({k: v for k, v in AZURE.items() if k != "api_key"}, {}, False),
        ({"provider": "vllm", "base_url": "http://127.0.0.1:1"}, {}, True),
        ({"provider": "google-vertex", "api_key": "0123456789abcdef"}, {}, False),
        ({"provider": "aws", "params": KEYS}, {}, True),
        ({"provider": "aws"}, {}, False),
        ({"provider": "aws", "params": KEYS | {"aws_role_name": "arn:aws:iam::123456789012:role/x"}}, {}, False),
        ({"provider": "aws", "params": KEYS}, {"AWS_ROLE_NAME": "arn:aws:iam::123456789012:role/x"}, False),
        ({"provider": "aws", "params": KEYS}, {"AWS_PROFILE_NAME": "x"}, False),
        ({"provider": "aws", "params": KEYS}, {"AWS_ROLE_NAME": "", "AWS_REGION": "eu-central-1"}, True),
    ],
)
def test_credentials_that_somebody_is_asked_for_are_waited_for(
    upstream: dict[str, Any], environ: dict[str, str], expected: bool
) -> None:
    """LiteLLM takes a role or a profile of the environment before keys that are written down."""
    target = target_of("u", row({}, **upstream), "m", "chat")

    assert target.waits_for_nothing(environ) is expected
