"""LiteLLM's `model_list` and settings as upstreams, models and the server's own settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from proxy.config.from_litellm.budgets import Owner, add_budgets
from proxy.config.from_litellm.values import Conversion, Row, as_dict, as_list
from proxy.config.without_file import BASE_URLS

_PROVIDERS = {
    "gemini": "google",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "vllm",
    "ollama_chat": "ollama",
    "text-completion-openai": "openai",
}
_GUESSED = (
    ("gpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude", "anthropic"),
    ("gemini", "google"),
    *((start, "openai") for start in ("text-embedding-3", "text-embedding-ada", "dall-e", "whisper-1", "tts-1")),
)
# Providers whose own API the translator speaks: their name here, and how what LiteLLM is told of them begins.
_TRANSLATED = {
    "bedrock": ("aws", "aws_"),
    "vertex_ai": ("google-vertex", "vertex_"),
    "vertex_ai_beta": ("google-vertex", "vertex_"),
}
_AWS_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d\Z")
_VARIABLE = re.compile(r"os\.environ/(\w+)\Z")
_TAKEN_PARAMS = frozenset({"model", "api_key", "api_base", "base_url", "custom_llm_provider"})
_TAKEN_SETTINGS = {
    "litellm_settings": frozenset({"max_budget", "budget_duration", "timezone", "fallbacks", "num_retries"}),
    "router_settings": frozenset({"fallbacks", "num_retries"}),
    "general_settings": frozenset({"master_key"}),
}


def add_models(made: Conversion, config: Mapping[str, Any]) -> None:
    for number, row in enumerate(as_list(config.get("model_list"))):
        _add_model(made, row, f"model_list[{number}]")


def add_settings(made: Conversion, config: Mapping[str, Any], everybody: Row) -> None:
    """everybody: what all calls have cost, and until when that counts."""
    both = as_dict(config.get("router_settings")) | as_dict(config.get("litellm_settings"))
    models = made.config["models"]
    for item in as_list(both.get("fallbacks")):
        for name, others in as_dict(item).items():
            kept = [other for other in as_list(others) if other in models]
            if name not in models or len(kept) < len(as_list(others)):
                made.left.append(f"fallbacks: {name}: {others}: not all of them are models here")
            if name in models and kept:
                models[name]["fallbacks"] = list(dict.fromkeys([*models[name].get("fallbacks", ()), *kept]))
    retries = both.get("num_retries")
    if isinstance(retries, int) and 0 < retries <= 10:
        for entry in models.values():
            entry["retries"] = retries
    master = as_dict(config.get("general_settings")).get("master_key")
    if master:
        made.config["server"]["admin_key"] = _variable(master)
        made.left.append("general_settings.master_key: is the admin key here, and no key for calls")
    _add_timezone(made, both.get("timezone"))
    add_budgets(made, Owner("all", {}), both | dict(everybody))
    for section, taken in _TAKEN_SETTINGS.items():
        made.left += [f"{section}.{key}" for key in as_dict(config.get(section)) if key not in taken]
    made.left += [key for key in config if key != "model_list" and key not in _TAKEN_SETTINGS]


def provider_named(name: str) -> str:
    """LiteLLM's name of a provider as ours."""
    return _PROVIDERS.get(name, name)


def _add_model(made: Conversion, row: Any, where: str) -> None:
    params = as_dict(as_dict(row).get("litellm_params"))
    name, target = as_dict(row).get("model_name"), params.get("model")
    if not isinstance(name, str) or not isinstance(target, str):
        made.left.append(f"{where}: has no model_name, or no litellm_params.model")
        return
    prefix, slash, model = target.partition("/")
    provider = str(params.get("custom_llm_provider") or (prefix if slash else ""))
    model = model if slash and provider == prefix else target
    more: dict[str, Any] = {}
    taken = _TAKEN_PARAMS
    if provider in _TRANSLATED:
        provider, start = _TRANSLATED[provider]
        own = {key: _variable(value) for key, value in params.items() if key.startswith(start)}
        taken |= own.keys()
        model, said = _of_bedrock(model) if provider == "aws" else (model, {})
        more = {"via": "litellm", "params": said | own}
    provider = provider_named(provider) or next((p for start, p in _GUESSED if target.startswith(start)), "")
    base = params.get("api_base") or params.get("base_url") or BASE_URLS.get(provider)
    if not provider or (not base and not more):
        made.left.append(f"{where}: {name}: {target}: no upstream is known for it; name its base_url")
        return
    if provider == "azure":
        model, more = _of_azure(made, row, params, model, where)
        taken |= {"api_version"}
    upstream = _upstream(made, provider, _variable(base), _variable(params.get("api_key")), more)
    models = made.config["models"]
    entry: dict[str, Any] = {"upstream": upstream} | ({} if model == name else {"model": model})
    if name not in models:
        models[name] = entry
    elif "*" in name:
        made.left.append(f"{where}: {name}: is there already; a pattern has one upstream")
    else:
        other = next(f"{name}.{number}" for number in range(2, 10_000) if f"{name}.{number}" not in models)
        models[other] = {"upstream": upstream, "model": model}
        models[name]["fallbacks"] = [*models[name].get("fallbacks", ()), other]
        made.left.append(f"{where}: {name}: is a fallback ({other}); calls are not spread over several upstreams")
    made.left += [f"{where}: {name}: litellm_params.{key}" for key in params if key not in taken]
    made.left += [f"{where}: {name}: {key}" for key in as_dict(row) if key not in ("model_name", "litellm_params")]


def _of_bedrock(name: str) -> tuple[str, dict[str, Any]]:
    """`converse/ID`, `invoke/ID`, `eu-west-1/ID`: the id, and what stands before it as parameters."""
    *before, model = name.split("/") if "arn:" not in name else [name]
    said = {"route": "invoke"} if "invoke" in before else {}
    region = next((part for part in before if _AWS_REGION.match(part)), None)
    return model, said | ({"aws_region_name": region} if region else {})


def _of_azure(
    made: Conversion, row: Any, params: Mapping[str, Any], deployment: str, where: str
) -> tuple[str, dict[str, Any]]:
    """The model that a deployment is priced as, and what else its upstream's row says.

    Azure's own paths have the deployment and a version in them, which the translator writes; `/openai/v1` has neither.
    """
    named = as_dict(as_dict(row).get("model_info")).get("base_model")
    model = str(named).removeprefix("azure/") if named else deployment
    if "/" in model:  # `azure/eu/gpt-5`: a zone, which `params` say by other names
        made.left.append(
            f"{where}: model_info.base_model {named}: say its zone by params.deployment_type and params.zone"
        )
        model = model.rpartition("/")[2]
    elif not named and not any(deployment.startswith(start) for start, _ in _GUESSED):
        made.left.append(
            f"{where}: the model of deployment {deployment}, whose price it has: name it in params.deployments"
        )
    base = str(params.get("api_base") or params.get("base_url"))
    if base.rstrip("/").endswith("/openai/v1") and model == deployment:
        return model, {}
    version = params.get("api_version")
    of_version = {"api_version": str(_variable(version))} if version else {}
    return model, {"via": "litellm", "params": {**of_version, "deployments": {model: deployment}}}


def _upstream(made: Conversion, provider: str, base: Any, key: Any, more: Mapping[str, Any]) -> str:
    upstreams = made.config["upstreams"]
    reached = {"base_url": base, "api_key": key}
    entry = {"provider": provider} | {name: str(value) for name, value in reached.items() if value} | dict(more)
    for number in range(1, 10_000):
        name = provider if number == 1 else f"{provider}-{number}"
        if upstreams.setdefault(name, entry) == entry or _joined(upstreams[name], entry):
            break
    return name


def _joined(there: dict[str, Any], entry: Mapping[str, Any]) -> bool:
    """Whether they differ in their deployments alone, and of no model in that; then the first has those of both."""
    ours, theirs = (row.get("params", {}).get("deployments", {}) for row in (there, entry))
    both = {**entry, "params": {**entry.get("params", {}), "deployments": ours}}
    if not theirs or both != there or any(ours.get(model, name) != name for model, name in theirs.items()):
        return False
    there["params"]["deployments"] = {**ours, **theirs}
    return True


def _variable(value: Any) -> Any:
    """`os.environ/NAME` as we write it."""
    match = _VARIABLE.match(value) if isinstance(value, str) else None
    return f"${{{match[1]}}}" if match else value


def _add_timezone(made: Conversion, name: Any) -> None:
    if not name or name == "UTC":
        return
    try:
        made.timezone = ZoneInfo(str(name)).key
    except (KeyError, ValueError, OSError):
        made.left.append(f"litellm_settings.timezone: {name!r} is not a time zone; windows are those of UTC")
