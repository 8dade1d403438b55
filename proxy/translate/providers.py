"""Which of LiteLLM's providers stands for an upstream, and what it is told of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pricing.values import frozen
from proxy.config.translation import PLACES
from proxy.config.upstream import Upstream

# By the names that providers have here (proxy/access/provider_fields.py has the same families): LiteLLM's own, as of 1.110.2.
_LITELLM = {
    **dict.fromkeys(
        ("aws", "bedrock", "amazon-bedrock", "aws-bedrock", "amazon", "bedrock-converse", "bedrock-mantle"), "bedrock"
    ),
    **dict.fromkeys(
        ("google-vertex", "vertex", "vertex-ai", "vertexai", "google-vertexai", "google-cloud"), "vertex_ai"
    ),
    **dict.fromkeys(
        ("google", "gemini", "google-gla", "google-ai-studio", "google-genai", "googleai", "google-ai"), "gemini"
    ),
    **dict.fromkeys(("azure", "azure-openai", "azureopenai"), "azure"),
    **dict.fromkeys(("azure-ai", "azure-ai-foundry", "azure-foundry", "microsoft-foundry"), "azure_ai"),
    **dict.fromkeys(("anthropic", "claude"), "anthropic"),
    **dict.fromkeys(("cohere", "cohere-chat"), "cohere_chat"),
    **dict.fromkeys(("mistral", "mistralai", "mistral-ai"), "mistral"),
    **dict.fromkeys(("sagemaker", "aws-sagemaker", "amazon-sagemaker"), "sagemaker_chat"),
    "openai": "openai",
    "watsonx": "watsonx",
    "databricks": "databricks",
}
# A host that speaks OpenAI's chat and is not known otherwise.
_OPENAI_LIKE = "custom_openai"
_EMBEDS_AS = {"cohere_chat": "cohere", "sagemaker_chat": "sagemaker"}
_OURS = ("deployments", "route", *PLACES)
# A key that is written down is all that LiteLLM needs for these; for AWS where none of the others is given.
_KEY_ENOUGH = frozenset(
    {"anthropic", "openai", "custom_openai", "gemini", "azure", "azure_ai", "mistral", "cohere_chat"}
)
_AWS_ASKS = frozenset({"aws_profile_name", "aws_role_name", "aws_web_identity_token", "aws_sts_endpoint"})
# LiteLLM knows what an Azure deployment is by its name, or by a prefix (`o_series/`, `gpt5_series/`).
_SERIES = (
    (re.compile(r"o\d(?!\d)"), "o_series"),
    (re.compile(r"gpt-(?:[5-9]|\d{2})(?!(?:\.\d+)?-chat)"), "gpt5_series"),
)


# Whose names LiteLLM reads for more than a model's: agents, other APIs and hosts, endpoints of the account.
_READ_IN_NAMES = frozenset({
    "bedrock", "azure", "azure_ai", "sagemaker", "sagemaker_chat", "openai", "anthropic", "gemini", "cohere_chat", "mistral",
})  # fmt: skip
_BEDROCK_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:[^/]*/[A-Za-z0-9._:-]+\Z")
_OF_VERTEX = frozenset({"agent_engine", "gemini", "gemma", "bge"})


def is_plain(row: Upstream, name: str, model: str) -> bool:
    """Whether a model's name that a client chose names a model to LiteLLM, and neither an agent nor another API or place."""
    provider = _provider(row, name)
    if provider == "vertex_ai":
        return not any(part in _OF_VERTEX or part.isdigit() for part in model.split("/"))
    if provider == "watsonx":
        return not model.startswith("deployment/")
    if provider not in _READ_IN_NAMES or "/" not in model:
        return True
    return provider == "bedrock" and _BEDROCK_ARN.match(model) is not None


def _provider(row: Upstream, name: str) -> str:
    return str(row.params.get("custom_llm_provider") or _LITELLM.get(row.provider_name(name).lower(), _OPENAI_LIKE))


@frozen
class Target:
    """What LiteLLM is told of one call's upstream. model: with LiteLLM's prefix. provider: LiteLLM's. options: its arguments,
    credentials among them."""

    model: str
    provider: str
    options: Mapping[str, Any]

    def waits_for_nothing(self, environ: Mapping[str, str]) -> bool:
        """Whether a request to it can be made without asking anybody for credentials first. environ: where LiteLLM looks for
        what is not written down, a role beside keys that are, too."""
        if self.provider in _KEY_ENOUGH:
            return bool(self.options.get("api_key"))
        written = all(self.options.get(name) for name in ("aws_access_key_id", "aws_secret_access_key"))
        asks = any(self.options.get(name) or environ.get(name.upper()) for name in _AWS_ASKS)
        return self.provider == "bedrock" and written and not asks


def target_of(name: str, row: Upstream, model: str, operation: str) -> Target:
    """Where a call of `operation` to `model` (the name that is priced) goes."""
    provider = _provider(row, name)
    if operation == "embeddings":
        provider = _EMBEDS_AS.get(provider, provider)
    options = {key: value for key, value in row.params.items() if key not in (*_OURS, "custom_llm_provider")}
    if row.api_key:
        options["api_key"] = row.api_key
    elif provider == _OPENAI_LIKE:
        options["api_key"] = "none"  # a server of one's own; without any LiteLLM would look for OpenAI's
    if row.base_url:
        options["api_base"] = row.base_url
    if row.headers:
        options["extra_headers"] = dict(row.headers)
    if provider == "azure" and row.base_url.rstrip("/").endswith("/openai/v1"):
        options.setdefault("api_version", "v1")  # which takes none; LiteLLM would send a version of its own
    deployed = row.params.get("deployments", {}).get(model, model)
    route = row.params.get("route")
    if provider == "azure" and operation in ("chat", "messages"):
        route = _series(model, deployed)
    elif provider == "azure_ai" and "claude" in model.lower() and "claude" not in deployed.lower():
        # Foundry's Claude speaks Anthropic's API below this path, and LiteLLM knows it by its name alone.
        provider = "anthropic"
        options["api_base"] = row.base_url.rstrip("/").removesuffix("/anthropic") + "/anthropic"
    elif provider == "bedrock" and deployed.startswith("arn:") and deployed != model:
        route = route or "converse"  # whose request is the same for all models, as an ARN need not name one
    return Target("/".join(part for part in (provider, route, deployed) if part), provider, options)


def _series(model: str, deployed: str) -> str | None:
    """The prefix for a deployment that is not called as its model is; None where it needs none."""
    if model.lower() in deployed.lower():
        return None
    return next((name for pattern, name in _SERIES if pattern.match(model.lower())), None)
