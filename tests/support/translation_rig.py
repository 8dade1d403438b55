"""A gateway that translates, before fakes of the hosts that it translates for; and callers of three dialects, by their real SDKs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support import aws_sts, clouds
from tests.support.gateway import ADMIN_KEY, Gateway, gateway, server
from tests.support.processes import module_running
from tests.support.waiting import eventually

KEY = "sk-translated-0000000000000001"
# The client's name of a model, its upstream, its name there.
MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "gpt-5-mini",
    "bedrock": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock-invoke": "anthropic.claude-3-haiku-20240307-v1:0",
    "vertex": "gemini-2.5-flash",
    "vertex-claude": "claude-sonnet-4-5@20250929",
    "azure": "gpt-4.1-mini",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-large-latest",
    "cohere": "command-a-03-2025",
}


# Beside these, from chat completions alone: other ways to show who asks.
MORE = {
    "watsonx": "ibm/granite-3-8b-instruct",
    "sagemaker": "our-llama",
    "sagemaker-stream": "our-llama",
    "databricks": "databricks-meta-llama-3-3-70b-instruct",
    "bedrock-profile": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock-role": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock-web-identity": "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
# Azure's v1 API by a key, by Entra ID, and without LiteLLM; Foundry's API for all its models, and Claude there, called so or not.
AZURE = {
    "azure-v1": "gpt-4.1-mini",
    "azure-preview": "gpt-4.1-mini",
    "azure-entra": "gpt-4.1-mini",
    "azure-own": "gpt-4.1-mini",
    "foundry": "mistral-medium-2505",
    "foundry-claude": "claude-sonnet-4-5",
    "foundry-deployed": "claude-sonnet-4-5",
}
# As the fake calls it: LiteLLM knows Foundry by its host, for which a part of the path stands.
FOUNDRY = "foundry-services.ai.azure.com"
PROFILE = f"[work]\naws_access_key_id = {clouds.AWS_KEY}\naws_secret_access_key = {clouds.AWS_SECRET}\n"


def more_upstreams(port: int) -> dict[str, Any]:
    base = f"http://127.0.0.1:{port}"
    key = {"api_key": clouds.KEY, "via": "litellm"}
    aws = {"aws_region_name": clouds.AWS_REGION}
    keys = aws | {"aws_access_key_id": clouds.AWS_KEY, "aws_secret_access_key": clouds.AWS_SECRET}
    role = {"aws_role_name": aws_sts.ROLE, "aws_session_name": "tests", "aws_sts_endpoint": f"{base}/sts/"}
    bedrock, endpoint = {"via": "litellm", "provider": "aws"}, {"aws_bedrock_runtime_endpoint": f"{base}/bedrock-role"}
    sagemaker = f"{base}/sagemaker/endpoints/our-llama/invocations"
    return {
        "watsonx": key | {"base_url": f"{base}/watsonx", "params": {"project_id": "p"}},
        "databricks": key | {"base_url": f"{base}/databricks/serving-endpoints"},
        "sagemaker": {"via": "litellm", "params": keys | {"sagemaker_base_url": sagemaker}},
        "sagemaker-stream": {
            "via": "litellm", "provider": "sagemaker",
            "params": keys | {"sagemaker_base_url": f"{sagemaker}-response-stream"},
        },
        "bedrock-profile": bedrock | {
            "params": aws | {"aws_profile_name": "work", "aws_bedrock_runtime_endpoint": f"{base}/bedrock-profile"},
        },
        "bedrock-role": bedrock | {"params": keys | role | endpoint},
        "bedrock-web-identity": bedrock | {"params": aws | role | endpoint | {"aws_web_identity_token": "oidc/env/CLOUDS_WEB_TOKEN"}},
    }  # fmt: skip


def azure_upstreams(port: int) -> dict[str, Any]:
    base = f"http://127.0.0.1:{port}"
    azure = {"via": "litellm", "provider": "azure"}
    key, mini = {"api_key": clouds.KEY}, {"deployments": {"gpt-4.1-mini": "our-mini"}}
    entra = {
        "tenant_id": clouds.ENTRA_TENANT,
        "client_id": clouds.ENTRA_CLIENT,
        "azure_ad_token": "oidc/env/CLOUDS_WEB_TOKEN",
    }
    foundry = key | {"via": "litellm", "provider": "azure-ai-foundry", "base_url": f"{base}/{FOUNDRY}"}
    rows: dict[str, dict[str, Any]] = {
        "azure-v1": azure | key | {"base_url": f"{base}/azure-v1/openai/v1", "params": mini | {"api_version": "v1"}},
        "azure-preview": azure | key | {"base_url": f"{base}/azure-preview", "params": mini | {"api_version": "preview"}},
        "azure-entra": azure | {"base_url": f"{base}/azure-entra", "params": mini | entra | {"api_version": "v1"}},
        "azure-own": key | {"provider": "azure", "base_url": f"{base}/azure-own/openai/v1", "translate": ["anthropic"]},
        "foundry": foundry | {"params": {"api_version": clouds.FOUNDRY_VERSION}},
        "foundry-claude": foundry,
        "foundry-deployed": foundry | {"params": {"deployments": {"claude-sonnet-4-5": "our-best"}}},
    }  # fmt: skip
    return {name: row | {"bills_after_disconnect": False} for name, row in rows.items()}


def upstreams(port: int, account: str) -> dict[str, Any]:
    base = f"http://127.0.0.1:{port}"
    aws = {
        "aws_region_name": clouds.AWS_REGION, "aws_access_key_id": clouds.AWS_KEY, "aws_secret_access_key": clouds.AWS_SECRET,
    }  # fmt: skip
    vertex = {"vertex_project": "p", "vertex_location": "global", "vertex_credentials": account}
    google = f"{base}/vertex/v1/projects/p/locations/global/publishers"
    key = {"api_key": clouds.KEY}
    rows: dict[str, dict[str, Any]] = {
        "anthropic": key | {"base_url": f"{base}/anthropic", "translate": ["openai", "responses"]},
        "openai": key | {"base_url": f"{base}/openai/v1", "translate": ["anthropic"]},
        "bedrock": {
            "via": "litellm", "provider": "aws", "params": aws | {"aws_bedrock_runtime_endpoint": f"{base}/bedrock"},
        },
        "bedrock-invoke": {
            "via": "litellm", "provider": "aws",
            "params": aws | {"aws_bedrock_runtime_endpoint": f"{base}/bedrock-invoke", "route": "invoke"},
        },
        "vertex": {
            "via": "litellm", "provider": "google-vertex", "params": vertex,
            "base_url": f"{google}/google/models/gemini-2.5-flash",
        },
        "vertex-claude": {
            "via": "litellm", "provider": "google-vertex", "params": vertex,
            "base_url": f"{base}/vertex-claude/v1/projects/p/locations/global/publishers/anthropic/models/claude",
        },
        "azure": key | {
            "via": "litellm", "provider": "azure", "base_url": f"{base}/azure",
            "params": {"api_version": clouds.API_VERSION, "deployments": {"gpt-4.1-mini": "our-mini"}},
        },
        "gemini": key | {"via": "litellm", "provider": "google", "base_url": f"{base}/gemini/v1beta"},
        "mistral": key | {"via": "litellm", "provider": "mistral", "base_url": f"{base}/mistral/v1"},
        "cohere": key | {"via": "litellm", "provider": "cohere", "base_url": f"{base}/cohere/v2/chat"},
    }  # fmt: skip
    return {name: row | {"bills_after_disconnect": False} for name, row in rows.items()}


def config(folder: Path, rows: dict[str, Any]) -> dict[str, Any]:
    return config_fields(rows) | {
        "server": server(), "ledger": f"sqlite:///{folder / 'ledger.db'}", "data_dir": str(folder / "d"),
    }  # fmt: skip


def config_fields(rows: dict[str, Any]) -> dict[str, Any]:
    """What a configuration says of calls, not of where it runs."""
    price = {"input": "1", "cache_read": "0.1", "cache_write_5m": "1.25", "cache_write_1h": "2", "output": "10"}
    limits = {"context_tokens": 200_000, "max_output_tokens": 8192}
    providers = {row.get("provider", name) for name, row in rows.items()}
    return {
        "upstreams": rows,
        "models": {name: {"upstream": name, "model": (MODELS | MORE | AZURE)[name], **limits} for name in rows}
        | {f"any-{name}-*": {"upstream": name, "model": "*", **limits} for name in ("bedrock", "azure", "vertex")},
        "prices": [{"provider": provider, "model": "*", **price} for provider in sorted(providers)],
        "keys": [{"name": "tests", "key": KEY, "team": "tests"}],
        "budgets": [{"name": "all", "limit_usd": "1000", "window": "day"}],
    }


def service_account(port: int) -> tuple[str, str]:
    """A service account's file whose tokens come from our fake, and what that knows the account by."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    numbers = key.public_key().public_numbers()
    account = {
        "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": pem,
        "client_email": clouds.ACCOUNT, "client_id": "1", "token_uri": f"http://127.0.0.1:{port}/token/",
    }  # fmt: skip
    return json.dumps(account), f"{numbers.n},{numbers.e}"


@dataclass(frozen=True, slots=True)
class Rig:
    gateway: Gateway
    port: int
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    account: str = ""

    def bill(self) -> dict[str, dict[str, int]]:
        bill: dict[str, dict[str, int]] = httpx.get(f"http://127.0.0.1:{self.port}/_bill").json()
        return bill

    def entry(self, request_id: str) -> dict[str, Any]:
        """What the ledger has of a call."""
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}

        def look() -> list[dict[str, Any]]:
            params = {"request_id": request_id}
            answer = httpx.get(f"{self.gateway.admin_url}/api/requests", params=params, headers=headers)
            return list(answer.raise_for_status().json()["items"])

        return eventually(look, bool)[0]

    def asked(self, provider: str) -> dict[str, Any]:
        """The last body that a provider got."""
        body: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/_asked").json()[provider]
        return body

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"authorization": f"Bearer {KEY}"}
        return httpx.post(f"{self.gateway.url}{path}", json=body, headers=headers, timeout=110)


@contextlib.contextmanager
def translating(folder: Path) -> Iterator[Rig]:
    """The fakes, the gateway and the SDKs, until the end of the block."""
    account, public = service_account(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(clouds.PUBLIC_KEY, public)
        (folder / "aws").write_text(PROFILE)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "aws"))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("CLOUDS_WEB_TOKEN", aws_sts.WEB_TOKEN)
        with module_running(folder, "tests.support.clouds") as port:
            patch.setenv("WATSONX_IAM_URL", f"http://127.0.0.1:{port}/iam/token")
            account = account.replace("127.0.0.1:0/", f"127.0.0.1:{port}/")
            patch.setenv("AZURE_AUTHORITY_HOST", f"http://127.0.0.1:{port}/entra")
            rows = upstreams(port, account) | more_upstreams(port) | azure_upstreams(port)
            with (
                gateway(folder, config(folder, rows), timeout_s=90) as running,
                contextlib.ExitStack() as clients,
            ):
                once: Any = {"api_key": KEY, "max_retries": 0, "timeout": 110}
                yield Rig(
                    running,
                    port,
                    clients.enter_context(openai.OpenAI(base_url=f"{running.url}/v1", **once)),
                    clients.enter_context(anthropic.Anthropic(base_url=running.url, **once)),
                    account,
                )


# ---- what an SDK understood of an answer ----


@dataclass
class Told:
    text: str = ""
    tools: list[tuple[str, Any]] = field(default_factory=list)
    stop: str | None = None
    request_id: str = ""
    output_tokens: int = 0


CHAT_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
    },
}
RESPONSES_TOOL = {"type": "function", "strict": False, **CHAT_TOOL["function"]}  # type: ignore[dict-item]
MESSAGES_TOOL = {"name": "look", "description": "Looks.", "input_schema": CHAT_TOOL["function"]["parameters"]}  # type: ignore[index]


def chat(rig: Rig, model: str, prompt: str, stream: bool) -> Told:
    asked: Any = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 100}
    if "TOOL" in prompt:
        asked["tools"] = [CHAT_TOOL]
    told = Told()
    if not stream:
        raw = rig.openai.chat.completions.with_raw_response.create(**asked)
        told.request_id = raw.headers["x-taximeter-request-id"]
        whole = raw.parse()
        message = whole.choices[0].message
        told.text, told.stop = message.content or "", whole.choices[0].finish_reason
        told.tools = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
        told.output_tokens = whole.usage.completion_tokens
        return told
    raw = rig.openai.chat.completions.with_raw_response.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    told.request_id = raw.headers["x-taximeter-request-id"]
    parts: dict[int, list[str]] = {}
    for chunk in raw.parse():
        for choice in chunk.choices:
            told.text += choice.delta.content or ""
            told.stop = choice.finish_reason or told.stop
            for call in choice.delta.tool_calls or ():
                part = parts.setdefault(call.index, ["", ""])
                part[0] += call.function.name or ""
                part[1] += call.function.arguments or ""
        told.output_tokens = chunk.usage.completion_tokens if chunk.usage else 0
    told.tools = [(name, json.loads(arguments)) for name, arguments in parts.values()]
    return told


def responses(rig: Rig, model: str, prompt: str, stream: bool) -> Told:
    asked: Any = {"model": model, "input": prompt, "max_output_tokens": 100, "store": False}
    if "TOOL" in prompt:
        asked["tools"] = [RESPONSES_TOOL]
    raw = rig.openai.responses.with_raw_response.create(**asked, stream=stream)
    told = Told(request_id=raw.headers["x-taximeter-request-id"])
    whole = raw.parse()
    if stream:
        events = list(whole)
        told.text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        whole = events[-1].response
    else:
        told.text = whole.output_text
    told.stop = whole.status
    told.tools = [(item.name, json.loads(item.arguments)) for item in whole.output if item.type == "function_call"]
    told.output_tokens = whole.usage.output_tokens
    return told


def messages(rig: Rig, model: str, prompt: str, stream: bool) -> Told:
    asked: Any = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 100}
    if "TOOL" in prompt:
        asked["tools"] = [MESSAGES_TOOL]
    if stream:
        with rig.anthropic.messages.stream(**asked) as events:
            whole = events.get_final_message()
            request_id = events.response.headers["x-taximeter-request-id"]
    else:
        raw = rig.anthropic.messages.with_raw_response.create(**asked)
        whole, request_id = raw.parse(), raw.headers["x-taximeter-request-id"]
    return Told(
        "".join(block.text for block in whole.content if block.type == "text"),
        [(block.name, block.input) for block in whole.content if block.type == "tool_use"],
        whole.stop_reason, request_id, whole.usage.output_tokens,
    )  # fmt: skip


ASK = {"chat": chat, "responses": responses, "messages": messages}
