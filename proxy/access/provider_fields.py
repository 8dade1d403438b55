"""Fields of some providers that reach past what a key may do: other models, a server's engine, its network.

By provider, not by dialect: what one ignores another obeys. A provider that no table here knows may be a router or a server
of one's own, so that all tables hold for it. Each field has its reason; it is refused by name, or, where an answer does not
need it, left out. What only says who answers or for how much passes where no budget blocks, where the router itself states
its charge, and, if another model may answer, where any model may be asked for. Runs once an attempt, before anything is
recorded. Pure.

Sources: openrouter.ai/docs (routing, presets, plug-ins, variants); google-genai 3.6 (routing). Engines: `engine_fields.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from proxy.access.engine_fields import ALL_ENGINES, ENGINES, ENGINES_BY_PROVIDER, Rule, is_off
from proxy.access.public_urls import is_public
from proxy.config.upstream import is_local, plain_name
from proxy.dialects.fields import PlainNames, is_plain_reasoning
from proxy.dialects.references import BOOKKEEPING
from proxy.dialects.turns import messages_of
from proxy.errors import invalid_request, stored_not_found
from proxy.types import Call, Route

# Hosts that serve models of theirs under one name each: neither a router nor a server of one's own.
HOSTED = frozenset({
    "openai", "openai-chat", "openai-responses", "azure", "azure-openai", "azure-ai", "azureopenai", "azure-ai-foundry",
    "azure-foundry", "microsoft-foundry", "anthropic", "claude", "aws", "bedrock", "amazon-bedrock", "aws-bedrock",
    "amazon", "bedrock-converse", "bedrock-mantle", "google", "gemini", "google-gla", "google-ai-studio",
    "google-genai", "googleai", "google-ai", "google-vertex", "vertex", "vertex-ai", "vertexai", "google-vertexai",
    "google-cloud", "mistral", "mistralai", "mistral-ai", "cohere", "cohere-chat", "groq", "together", "together-ai",
    "togetherai", "fireworks", "fireworks-ai", "xai", "x-ai", "x.ai", "grok", "deepseek", "cerebras", "deepinfra",
    "deep-infra", "moonshot", "moonshotai", "moonshot-ai", "kimi", "dashscope", "alibaba", "qwen", "aliyun",
    "alibaba-cloud", "model-studio", "bailian", "nebius", "novita", "perplexity", "pplx", "perplexity-ai", "zai",
    "z.ai", "z-ai", "zhipuai", "zhipu", "bigmodel", "minimax", "minimax-ai", "voyage", "voyage-ai", "voyageai", "ai21",
    "sambanova", "hyperbolic", "lambda", "baseten", "friendli", "cloudflare", "cloudflare-workers-ai", "workers-ai",
    "databricks", "siliconflow", "scaleway", "ovhcloud", "upstage", "replicate", "jina",
    "elevenlabs", "eleven-labs", "runway", "runwayml", "stability", "stability-ai", "stabilityai", "luma", "lumaai",
    "luma-ai",
})  # fmt: skip
_QWEN = frozenset({"dashscope", "alibaba", "qwen", "aliyun", "alibaba-cloud", "model-studio", "bailian"})

# What a call may tell a router: how data is handled, never who answers or at what price.
_ROUTING_IS_FINE = frozenset(
    {"data_collection", "zdr", "require_parameters", "enforce_distillable_text", "max_price", "allow_fallbacks"}
)
# What says who answers: harmless where `max_price` holds the price, by the router's own word.
_ROUTING_CHOOSES = frozenset(
    {"order", "only", "ignore", "sort", "quantizations", "preferred_min_throughput", "preferred_max_latency"}
)
_PLUGINS_ARE_FINE = frozenset({"response-healing"})
_PLUGINS_COST = frozenset({"response-healing", "web", "file-parser", "context-compression"})
_VARIANTS_COST = ("online", "nitro")
_MODELS = "models"


def _is_fine_routing(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and _ROUTING_IS_FINE.issuperset(value))


def _are_fine_plugins(value: Any) -> bool:
    return is_off(value) or (
        isinstance(value, list) and all(_is_plugin(one, _PLUGINS_ARE_FINE) and len(one) == 1 for one in value)
    )


def _are_plugins_of_one_model(value: Any) -> bool:
    """Searches and readers of files: they cost, and no other model answers."""
    return isinstance(value, list) and all(_is_plugin(one, _PLUGINS_COST) for one in value)


def _is_plugin(value: Any, names: frozenset[str]) -> bool:
    return isinstance(value, dict) and isinstance(name := value.get("id"), str) and name in names


_ANOTHER_MODEL = Rule("then another model may answer, beyond this key's models and their prices", evades="models")

ROUTER: Mapping[str, Rule] = {
    "route": _ANOTHER_MODEL, "preset": _ANOTHER_MODEL, "fallbacks": _ANOTHER_MODEL, "fallback_models": _ANOTHER_MODEL,
    "context_window_fallbacks": _ANOTHER_MODEL, "context_window_fallback_dict": _ANOTHER_MODEL,
    "fallback_model": _ANOTHER_MODEL, "fallbackmodel": _ANOTHER_MODEL, "engine": _ANOTHER_MODEL, "model_name": _ANOTHER_MODEL,
    "modelname": _ANOTHER_MODEL, "deployment": _ANOTHER_MODEL, "deployment_name": _ANOTHER_MODEL,
    "specific_deployment": _ANOTHER_MODEL, "content_policy_fallbacks": _ANOTHER_MODEL,
    "router": _ANOTHER_MODEL, "targets": _ANOTHER_MODEL,
    "provideroptions": Rule("it decides who answers, and at what price", evades="models"),
    "provider_options": Rule("it decides who answers, and at what price", evades="models"),
    "provider": Rule("it may say how data is handled, not who answers or at what price", _is_fine_routing, evades="price"),
    "reasoning": Rule("its `mode` selects another model", is_plain_reasoning, evades="models"),
    "plugins": Rule("plug-ins add what is not metered: searches, other models, pages", _are_fine_plugins, evades="models"),
}  # fmt: skip

# What a router nobody has read about may take for another model, or for orders who answers; and objects of the APIs that
# routers serve, whose own names mean something else.
_SOUNDS_LIKE_ANOTHER = re.compile(
    r"model|fallback|rout(?:e|er|ing)(?:_|\Z)|deployment|engine|override|ensemble|mirror|retries|(?:\A|_)(?:targets?|strategy)\Z|\Aconfig\Z"
)
_OBJECTS = frozenset({
    "metadata", "labels", "response_format", "logit_bias", "stream_options", "audio", "prediction", "reasoning", "thinking",
    "provider", "usage", "trace", "web_search_options", "image_config", "tool_choice", "function_call", "cache_control", "text",
    "output_config", "prompt", "context_management", "messages", "tools", "functions", "input", "generationconfig",
    "system", "contents", "content", "systeminstruction", "system_instruction", "toolconfig", "tool_config",
    "generatecontentrequest",
    "user", "stop", "seed", "temperature", "top_p", "presence_penalty", "frequency_penalty", "parallel_tool_calls",
})  # fmt: skip

# Other models by Google's own word.
_GEMINI_CONFIG: Mapping[str, Rule] = {
    "routingconfig": _ANOTHER_MODEL, "modelselectionconfig": _ANOTHER_MODEL, "modelconfig": _ANOTHER_MODEL,
}  # fmt: skip
# A server of one's own that keeps conversations would continue anybody's.
_PERHAPS_READ: Mapping[str, Rule] = {
    spelling: Rule("a server may continue somebody else's", drop=True)
    for name in BOOKKEEPING
    for spelling in (name, name.replace("_", ""))
}
_NO_RULES: Mapping[str, Rule] = {}
# perplexityai 0.46, `types/chat/completion_create_params.py`: conversations that it keeps, and fields of its own programs.
_PERPLEXITY = frozenset({"perplexity", "pplx", "perplexity-ai"})
_ITS_OWN = Rule("it is for the provider's own programs")
_PERPLEXITYS: Mapping[str, Rule] = {
    "thread_id": Rule("it may continue somebody else's conversation"),
    "use_threads": Rule("nobody could continue the conversation that it stores"),
    **dict.fromkeys(("_debug_pro_search", "_force_new_agent", "_inputs", "_prompt_token_length", "search_tenant",
                     "search_internal_properties"), _ITS_OWN),
}  # fmt: skip


# fal's models have parameters of every name (`model_name` of a LoRA's base, `model` of a cut-out's network), and none of
# them is another model of fal's, but where the model is a way to those of others, billed as these are (fal.ai/models/fal-
# ai/any-llm).
_FAL = frozenset({"fal", "fal-ai"})
_FALS_ROUTERS = re.compile(r"(?:\A|/)(?:any-llm|router|openrouter|any-vlm)(?:/|\Z)")
_FALS_ROUTER: Mapping[str, Rule] = {"model": _ANOTHER_MODEL, "models": _ANOTHER_MODEL, **ROUTER}


def _rules_of(provider: str) -> Mapping[str, Rule]:
    """What holds for the fields of a body at this provider."""
    if provider in HOSTED or provider in _FAL:
        return _PERPLEXITYS if provider in _PERPLEXITY else _NO_RULES
    engine = ENGINES_BY_PROVIDER.get(provider)
    if engine is not None:
        return ENGINES[engine]
    return ROUTER if provider in _KNOWN_ROUTERS else {**ALL_ENGINES, **ROUTER, **_PERHAPS_READ}


_KNOWN_ROUTERS = frozenset({
    "openrouter", "litellm", "portkey", "vercel", "vercel-ai-gateway", "requesty", "orcarouter", "martian",
    "notdiamond", "unify", "helicone", "kilo", "huggingface", "hf", "hugging-face", "poe", "nanogpt", "nano-gpt",
    "aimlapi", "bifrost", "new-api", "one-api", "glama", "truefoundry", "eden-ai", "edenai", "github-copilot", "copilot",
})  # fmt: skip


def is_router(provider: str) -> bool:
    """Whether a model's name here may be a way to another's."""
    is_known_provider = provider in HOSTED or provider in _FAL or provider in ENGINES_BY_PROVIDER
    return not is_known_provider and not is_local(provider)


def _always(kind: str) -> bool:
    return True


@cache
def _screen_of(provider: str) -> tuple[Mapping[str, Rule], PlainNames, bool]:
    """The rules for its fields; names that none of them is about; whether it is a router."""
    return _rules_of(provider), PlainNames(), is_router(provider)


def is_self_hosted(provider: str) -> bool:
    """Whether what a body names may be fetched from inside of one's own network."""
    return provider not in HOSTED and provider not in _FAL and provider not in _KNOWN_ROUTERS


def screen(
    call: Call, route: Route, allowed: Callable[[str], str], *, exact: bool, guarded: Callable[[str], bool] = _always
) -> Call:
    """The call without what this provider would read of its body and this key may not ask for. Raises `Refused` (400), by name,
    where an answer would need it.

    allowed: the provider's name of another model that the caller names, or `Refused`, where it may not be used. exact: the
    configuration has this very model, and not a pattern. guarded: whether there is a "price" or a list of "models" that the
    caller could get past, or one that a `max_price` of his does not keep ("routing"); asked only for fields that could.
    """
    provider = plain_name(route.provider)
    rules, plain, routes_on = _screen_of(provider)
    named = not plain.cover(call.body) or (routes_on and _holds_objects(call.body))
    if named:
        call = _without(call, rules, plain, guarded, routes_on=routes_on)
    if routes_on:
        call = _screen_models(call, route, allowed, guarded, exact=exact, named=named)
    if call.urls and is_self_hosted(provider):
        _refuse_inner_urls(call, bare_names=provider not in ENGINES_BY_PROVIDER)
    if provider in _QWEN:
        _refuse_named_files(call)
    if provider in _FAL and _FALS_ROUTERS.search(route.model):
        call = _without(call, _FALS_ROUTER, PlainNames(), guarded, routes_on=True)
    if call.dialect == "gemini" and isinstance(config := call.body.get("generationConfig"), dict):
        _refuse(config, _GEMINI_CONFIG)
        _refuse(call.body, _GEMINI_CONFIG)
    return call


def goes_by_names(call: Call, route: Route) -> bool:
    """Whether `screen` lets every call pass as it is whose body has fields of the same names, whatever they hold: known once
    one has passed. The tools among them are the client's own."""
    provider = plain_name(route.provider)
    _, plain, routes_on = _screen_of(provider)
    a_variant = ":" in route.model or "@" in route.model
    return plain.cover(call.body) and provider not in _QWEN and not (routes_on and a_variant)


# What these calls are made of, so that their ceiling has it.
_COUNTED = frozenset({("best_of", "completions"), ("documents", "rerank"), ("documents", "score")})


def _holds_objects(body: Mapping[str, Any]) -> bool:
    """Whether a field of a body holds names of its own that nobody has read about: it may have held a text before."""
    return any(
        (type(value) is dict or (type(value) is list and dict in map(type, value))) and name.lower() not in _OBJECTS
        for name, value in body.items()
    )


def _sounds_like_another(name: str, value: Any) -> bool:
    """Whether a field that no table has may choose another model, by its name or by one in it, however deep. O(values)."""
    if _SOUNDS_LIKE_ANOTHER.search(name):
        return name not in ("model", _MODELS)
    stack = [value]
    while stack:
        inner = stack.pop()
        if isinstance(inner, dict):
            if any(_SOUNDS_LIKE_ANOTHER.search(one.lower()) for one in inner):
                return True
            stack += inner.values()
        elif isinstance(inner, list):
            stack += [one for one in inner if isinstance(one, dict | list)]
    return False


def _without(
    call: Call, rules: Mapping[str, Rule], plain: PlainNames, guarded: Callable[[str], bool], *, routes_on: bool
) -> Call:
    ruled = {}
    for name, value in call.body.items():
        lower = name.lower()
        if lower in rules:
            ruled[name] = rules[lower]
        elif routes_on and lower not in _OBJECTS and _sounds_like_another(lower, value):
            ruled[name] = _ANOTHER_MODEL
        elif lower != _MODELS and (lower in _OBJECTS or not isinstance(value, dict | list if routes_on else dict)):
            plain.add(name)
    dropped = set()
    for name, rule in ruled.items():
        if rule.harmless(call.body[name]) or (name, call.operation) in _COUNTED:
            continue
        if rule.evades and not guarded(_evaded_by(rule, name, call.body[name])):
            continue
        if not rule.drop or call.form is not None:
            raise invalid_request(f"The field {name!r} is not accepted here: {rule.why}.", name)
        dropped.add(name)
    if not dropped:
        return call
    return call._replace(body={name: value for name, value in call.body.items() if name not in dropped})


def _holds_a_price(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("max_price"), dict)
        and (_ROUTING_IS_FINE | _ROUTING_CHOOSES).issuperset(value)
    )


def _evaded_by(rule: Rule, name: str, value: Any) -> str:
    if name == "provider" and _holds_a_price(value):
        return "routing"
    return "price" if name.lower() == "plugins" and _are_plugins_of_one_model(value) else rule.evades


def _refuse(config: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    for name, value in config.items():
        rule = rules.get(name.replace("_", "").lower())
        if rule is not None and not rule.harmless(value):
            raise invalid_request(f"The field {name!r} is not accepted here: {rule.why}.", name)


def _screen_models(
    call: Call,
    route: Route,
    allowed: Callable[[str], str],
    guarded: Callable[[str], bool],
    *,
    exact: bool,
    named: bool,
) -> Call:
    """Whatever model a body names beside its own must be one that the caller may use. named: it may name some."""
    if not exact and _is_past(route.model, guarded):
        name = route.model.partition(":")[0]
        raise invalid_request(
            f"A variant or a preset of {name[:100]!r} is not accepted here: it may cost more than the model.", "model"
        )
    models_named: dict[str, list[str]] = {}
    for field in [one for one in call.body if one.lower() == _MODELS] if named else ():
        models = call.body[field]
        if is_off(models):
            continue
        if not isinstance(models, list) or not all(isinstance(one, str) for one in models):
            raise invalid_request("`models` must be a list of names.", "models")
        models_named[field] = [route.model if one == route.requested else allowed(one) for one in models]
    tools = call.body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") if isinstance(tool, dict) else None
        if isinstance(kind, str) and ":" in kind and guarded("price"):
            raise invalid_request("A router's own tools are not accepted here: nobody meters them.", "tools")
    return call._replace(body={**call.body, **models_named}) if models_named else call


def _is_past(model: str, guarded: Callable[[str], bool]) -> bool:
    """Whether a model's name brings along what its own price does not have."""
    return ("@preset" in model and guarded("models")) or (_is_dear_variant(model) and guarded("price"))


def _is_dear_variant(model: str) -> bool:
    variants = model.partition(":")[2].lower().split(":")
    return any(one in _VARIANTS_COST for one in variants)


def _refuse_inner_urls(call: Call, *, bare_names: bool) -> None:
    for url in call.urls:
        if not is_public(url, bare_names=bare_names):
            raise invalid_request(
                "A URL in this call does not lead to the public internet; send its content as data instead.", "url"
            )


def _refuse_named_files(call: Call) -> None:
    """Qwen-Long reads files of the account that a text names (help.aliyun.com/zh/model-studio, long context)."""
    for message in messages_of(call):
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [content]
        for part in parts:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str) and "fileid://" in text:
                raise stored_not_found("messages")
