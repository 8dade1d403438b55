"""Valid requests whose bill was once larger than their ceiling, with the bill: by the providers' documentation, else as stated.

`refused`: a field that must be named in the refusal (400 `unbounded_cost`); "" where the ceiling has to hold the bill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import media

HI = [{"role": "user", "content": "hi"}]


@dataclass(frozen=True)
class Attack:
    """One request and what it is billed."""

    name: str
    provider: str
    model: str
    request: Mapping[str, Any]
    usage: Mapping[str, Any]
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    route: Mapping[str, Any] = field(default_factory=dict)
    prices: tuple[Mapping[str, Any], ...] = ()
    dialect: str = ""
    raw: tuple[str, str] = ("", "")  # a text of the body, and how it is written there


def chat(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **more,
    }


def _thought(tokens: int, **more: Any) -> dict[str, Any]:
    """xAI's: reasoning beside the completion, in the total."""
    return {
        "prompt_tokens": 20,
        "completion_tokens": 16,
        "total_tokens": 36 + tokens,
        "completion_tokens_details": {"reasoning_tokens": tokens},
        **more,
    }


_CAPPED = {"messages": HI, "max_tokens": 16}
_WARM = {
    "messages": HI,
    "system": [{"type": "text", "text": "word " * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
}
_WARMED = {"input_tokens": 3, "output_tokens": 0, "cache_creation_input_tokens": 4100,
           "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 4100}}  # fmt: skip
_LONG = "word " * 320_000
_LONG_CONTEXT = {"max_tokens": 16, "messages": [{"role": "user", "content": _LONG}]}
_ANTHROPIC_LONG = {"input_tokens": 800_000, "output_tokens": 16}
_TOLD = {"input_tokens": 20, "output_tokens": 16, "total_tokens": 36}
_BOXES = {"object": "response", "output": [{"type": "code_interpreter_call", "id": f"ci_{n}", "container_id": f"cntr_{n}", "code": "1"}
                                            for n in range(10)]}  # fmt: skip
_FOUND = {"object": "response", "output": [{"type": "web_search_call", "id": f"ws_{n}", "status": "completed", "action": {"type": "search"}}
                                            for n in range(10)]}  # fmt: skip
_GEMINI_PATH = "/v1beta/models/m:generateContent"
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _inline(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool that comes by a message (anthropic SDK 2.14, `beta_tool_change_tool_definition_param.py`)."""
    added = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool}}
    return {"max_tokens": 16, "messages": [*HI, {"role": "system", "content": [added]}, *HI]}


def _pictures(tokens: int, texts: int = 0) -> dict[str, Any]:
    """What OpenAI's image API bills, text among it that was thought before."""
    details = {"output_tokens_details": {"image_tokens": tokens, "text_tokens": texts}}
    return {"input_tokens": 5, "output_tokens": tokens + texts, "total_tokens": 5 + tokens + texts, **details}


_HEARD = chat(270, 500, prompt_tokens_details={"audio_tokens": 250}, completion_tokens_details={"audio_tokens": 450})


def _spoken() -> dict[str, Any]:
    """Ten seconds that are heard, and an answer that is spoken."""
    heard = {"type": "input_audio", "input_audio": {"data": media.base64_of(media.wav(10, 8000)), "format": "wav"}}
    asked = {"modalities": ["text", "audio"], "audio": {"voice": "Cherry", "format": "wav"}}
    return {"messages": [{"role": "user", "content": [heard]}], "max_tokens": 500, **asked}


def _picture(**more: Any) -> dict[str, Any]:
    part = {"inlineData": {"mimeType": "image/png", "data": _PNG}, **more}
    return {"contents": [{"parts": [part]}], "generationConfig": {"maxOutputTokens": 16}}


ATTACKS = (
    Attack("a beta that widens the context", "anthropic", "claude-sonnet-4-5", _LONG_CONTEXT, _ANTHROPIC_LONG,
           "/v1/messages", {"anthropic-beta": "context-1m-2025-08-07"}),
    Attack("among others", "anthropic", "claude-sonnet-4-5", _LONG_CONTEXT, _ANTHROPIC_LONG, "/v1/messages",
           {"anthropic-beta": "oauth-2025-04-20, context-1m-2025-08-07,interleaved-thinking-2025-05-14"}),
    Attack("a beta that nobody here knows", "anthropic", "claude-sonnet-4-5", _LONG_CONTEXT, _ANTHROPIC_LONG,
           "/v1/messages", {"anthropic-beta": "context-5m-2027-01-01"}),
    Attack("a fee for the request", "perplexity", "sonar-pro", _CAPPED,
           chat(20, 16, search_context_size="high")),
    Attack("a fee for the request, as low as it gets", "perplexity", "sonar", _CAPPED, chat(20, 16)),
    Attack("thoughts beside the answer", "perplexity", "sonar-reasoning-pro", _CAPPED,
           chat(20, 16, reasoning_tokens=8000)),
    Attack("research without end", "perplexity", "sonar-deep-research", _CAPPED,
           chat(20, 16, reasoning_tokens=200_000, citation_tokens=80_000, num_search_queries=30), refused="sonar-deep-research"),
    Attack("a search in steps of its own", "perplexity", "sonar-pro", {**_CAPPED, "web_search_options": {"search_type": "pro"}},
           chat(20, 16, search_context_size="high", cost={"total_cost": 0.0225}), refused="web_search_options"),
    Attack("a picture by way of a router", "openrouter", "google/gemini-2.5-flash-image", {**_CAPPED, "modalities": ["image", "text"]},
           chat(20, 1290, cost=0.0387), refused="-image"),
    Attack("a picture of OpenAI's by way of a router", "openrouter", "openai/gpt-5-image", {**_CAPPED, "modalities": ["image"]},
           chat(20, 6240, cost=0.2496), refused="-image"),
    Attack("sound by way of a router", "openrouter", "openai/gpt-audio",
           {**_CAPPED, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}},
           chat(20, 16, cost=0.064), refused="gpt-audio"),
    *(Attack(f"{model} by way of a router", "openrouter", model, _CAPPED, chat(20, 16, cost=0.04), refused=model)
      for model in ("google/gemini-nano-banana-2.1", "openai/gpt-4o-audio-preview", "google/gemini-omni-1.2-flash")),
    Attack("a picture by way of a router that has a price of the operator's", "openrouter", "google/gemini-2.5-flash-image",
           {**_CAPPED, "modalities": ["image", "text"]}, chat(20, 2590, completion_tokens_details={"image_tokens": 2580}),
           prices=({"provider": "openrouter", "model": "google/gemini-2.5-flash-image", "input": "0.3", "output": "2.5", "image_out": "30"},)),
    *(Attack(f"a picture beside a small cap at {provider}", provider, model, {**_CAPPED, "modalities": ["image", "text"]},
             chat(20, 1290, completion_tokens_details={"image_tokens": 1290}))
      for provider, model in (("databricks", "databricks-gemini-3-pro-image"), ("quicksilverpro", "gemini-3-pro-image"),
                              ("google-vertex", "gemini-nano-banana-2.1"))),
    *(Attack(f"{medium} by way of a router that has the price of text alone", "openrouter", "black-forest-labs/flux.2-pro",
             {**_CAPPED, "modalities": [medium]}, chat(20, 4160, cost=0.06), refused="modalities",
             prices=({"provider": "openrouter", "model": "*", "input": "1", "output": "2"},)) for medium in ("image", "audio", "video")),
    Attack("sound by way of a router that has a price of the operator's", "openrouter", "openai/gpt-audio",
           {**_CAPPED, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}},
           chat(20, 16, completion_tokens_details={"audio_tokens": 16}),
           prices=({"provider": "openrouter", "model": "openai/*", "audio_out": "64"},)),
    Attack("a price of the operator's for text alone", "openrouter", "openai/gpt-audio", _CAPPED, chat(20, 16, cost=0.04),
           refused="audio_out", prices=({"provider": "openrouter", "model": "*", "input": "1", "output": "2"},)),
    Attack("a price of the operator's that may not hold", "openrouter", "openai/gpt-audio", _CAPPED, chat(20, 16, cost=0.04),
           refused="audio_out",
           prices=({"provider": "openrouter", "model": "*", "audio_out": "2", "when": {"service_tier": "flex"}},)),
    Attack("a search that a field turns off which nobody reads", "perplexity", "sonar-pro",
           {**_CAPPED, "web_search_options": {"mode": "off", "search_type": "pro"}},
           chat(20, 16, search_context_size="high", cost={"total_cost": 0.0225}), refused="web_search_options"),
    Attack("another one by the result", "openrouter", "openai/gpt-4o-mini", {**_CAPPED, "web_search_options": {"mode": "off"}},
           chat(20, 16, cost=0.04), refused="web_search_options"),
    Attack("a guardrail that a field turns off which nobody reads", "acme", "m", {**_CAPPED, "knowledge_base": {"mode": "off"}},
           chat(20, 16), refused="knowledge_base", prices=({"provider": "acme", "model": "*", "input": "1", "output": "2"},)),
    Attack("another model in a list", "openrouter", "openai/gpt-4o-mini", {**_CAPPED, "models": ["openai/o1-pro"], "route": "fallback"},
           chat(20, 16, cost=0.6), refused="models"),
    Attack("a suffix that searches", "openrouter", "openai/gpt-4o-mini:online", _CAPPED, chat(20, 16, cost=0.02),
           refused=":online"),
    Attack("a plug-in that searches", "openrouter", "openai/gpt-4o-mini", {**_CAPPED, "plugins": [{"id": "web", "max_results": 10}]},
           chat(20, 16, cost=0.04), refused="plugins"),
    Attack("a plug-in that reads documents", "openrouter", "openai/gpt-4o-mini",
           {**_CAPPED, "plugins": [{"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}]}, chat(20, 16, cost=0.04), refused="plugins"),
    Attack("live search", "xai", "grok-4", {**_CAPPED, "search_parameters": {"mode": "on", "max_search_results": 30}},
           _thought(0, num_sources_used=30, cost_in_usd_ticks=7_500_000_000), refused="search_parameters"),
    Attack("live search, left to the model", "xai", "grok-4", {**_CAPPED, "search_parameters": {"mode": "auto"}},
           _thought(0, num_sources_used=20, cost_in_usd_ticks=5_000_000_000), refused="search_parameters"),
    Attack("a tool of xAI's in a chat", "xai", "grok-4", {**_CAPPED, "tools": [{"type": "web_search"}]},
           _thought(0, server_side_tool_usage_details={"web_search_calls": 40}), refused="web_search"),
    Attack("thoughts beside the cap", "xai", "grok-4", _CAPPED, _thought(20_000)),
    Attack("thoughts beside a cap of the newer name", "xai", "grok-3-mini", {"messages": HI, "max_completion_tokens": 16}, _thought(20_000)),
    Attack("thinking that no cap holds", "dashscope", "qwen-plus", {**_CAPPED, "enable_thinking": True}, chat(20, 30_016)),
    Attack("thinking with a cap of its own", "dashscope", "qwen-plus", {**_CAPPED, "enable_thinking": True, "thinking_budget": 4000},
           chat(20, 4016)),
    Attack("thinking with a cap above that of answers", "dashscope", "qwen-plus",
           {**_CAPPED, "enable_thinking": True, "thinking_budget": 38_912},
           chat(20, 38_928, completion_tokens_details={"reasoning_tokens": 38_912})),
    Attack("thinking that its own cap turns on", "dashscope", "qwen-plus", {**_CAPPED, "thinking_budget": 4000}, chat(20, 4016)),
    Attack("thinking by its effort", "dashscope", "qwen-plus", {**_CAPPED, "reasoning_effort": "high"}, chat(20, 30_016)),
    Attack("thinking by another's field", "dashscope", "qwen-plus", {**_CAPPED, "thinking": {"type": "enabled"}}, chat(20, 30_016)),
    Attack("thoughts above the cap of a router", "openrouter", "anthropic/claude-sonnet-4", {**_CAPPED, "reasoning": {"max_tokens": 20_000}},
           chat(20, 20_016)),
    Attack("a beta in the body", "anthropic", "claude-sonnet-4-5", {**_LONG_CONTEXT, "anthropic_beta": ["context-1m-2025-08-07"]},
           _ANTHROPIC_LONG, "/v1/messages"),
    Attack("speech without its modality", "openai", "gpt-4o-audio-preview",
           {"messages": HI, "max_tokens": 1000, "audio": {"voice": "alloy", "format": "mp3"}},
           chat(20, 1000, completion_tokens_details={"audio_tokens": 900, "text_tokens": 100})),
    Attack("thoughts at a provider's other name", "x-ai", "grok-4", _CAPPED, _thought(20_000)),
    Attack("thoughts at a provider's name in capitals", "XAI", "grok-4", _CAPPED, _thought(20_000)),
    Attack("thinking at a provider's other name", "alibaba", "qwen-plus", {**_CAPPED, "enable_thinking": True}, chat(20, 30_016)),
    Attack("a search at a provider's other name", "azure-openai", "gpt-4o-search-preview", _CAPPED, chat(8000, 16)),
    Attack("live search at a provider's other name", "grok", "grok-4", {**_CAPPED, "search_parameters": {"mode": "on"}}, _thought(0),
           refused="search_parameters"),
    Attack("research at a provider's other name", "pplx", "sonar-deep-research", _CAPPED, chat(20, 16), refused="sonar-deep-research"),
    Attack("a model that always thinks", "dashscope", "qwq-plus", _CAPPED, chat(20, 8016)),
    Attack("a search of Qwen's", "dashscope", "qwen-plus", {**_CAPPED, "enable_search": True},
           chat(8020, 16, plugins={"search": {"count": 1}}), refused="enable_search"),
    Attack("a search that is always there", "openai", "gpt-4o-search-preview", {**_CAPPED, "web_search_options": {}}, chat(8000, 16)),
    Attack("a search without its options", "openai", "gpt-4o-mini-search-preview", _CAPPED, chat(8000, 16)),
    Attack("on your data", "azure", "gpt-4o", {**_CAPPED, "data_sources": [{"type": "azure_search", "parameters": {}}]},
           chat(16_000, 16), refused="data_sources"),
    Attack("a prediction that was wrong", "openai", "gpt-4o", {**_CAPPED, "service_tier": "default", "prediction": {"type": "content", "content": "x " * 100_000}},
           chat(100, 100_016, completion_tokens_details={"rejected_prediction_tokens": 100_000})),
    Attack("a tier in camel case", "google", "gemini-2.5-flash",
           {"contents": [{"parts": [{"text": "hi"}]}], "serviceTier": "priority", "generationConfig": {"maxOutputTokens": 1000}},
           {"promptTokenCount": 20, "candidatesTokenCount": 1000, "totalTokenCount": 1020, "serviceTier": "priority"},
           "/v1beta/models/m:generateContent"),
    Attack("a tier that the project has", "openai", "gpt-4o", {"messages": HI, "max_tokens": 1000}, chat(10, 1000),
           answer={"service_tier": "priority"}),
    Attack("a tier that is left to the project", "openai", "gpt-4o", {"messages": HI, "max_tokens": 1000, "service_tier": "auto"},
           chat(10, 1000), answer={"service_tier": "priority"}),
    Attack("a tier of another name", "openai", "gpt-4o", {"messages": HI, "max_tokens": 1000, "service_tier": "FAST"},
           chat(10, 1000), answer={"service_tier": "fast"}),
    Attack("the least that is billed", "acme", "m", _CAPPED, chat(20, 16),
           prices=({"provider": "acme", "model": "m", "input": "1", "output": {"usd": "2", "per": 1_000_000, "min_quantity": "100000"}},)),
    Attack("the least of each unit", "acme", "m", _CAPPED, chat(20, 16, prompt_tokens_details={"cached_tokens": 10}),
           prices=({"provider": "acme", "model": "m", "output": "2", "input": {"usd": "1", "per": 1_000_000, "min_quantity": "5000"},
                    "cache_read": {"usd": "0.5", "per": 1_000_000, "min_quantity": "9000"}},)),
    Attack("a fee that the operator has", "acme", "m", _CAPPED, chat(20, 16),
           prices=({"provider": "acme", "model": "m", "input": "1", "output": "2", "request": "0.01"},)),
    Attack("a search that no table has", "acme", "m", {**_CAPPED, "deep_research": True}, chat(20, 16), refused="deep_research",
           prices=({"provider": "acme", "model": "m", "input": "1", "output": "2"},)),
    Attack("another's field", "acme", "m", {**_CAPPED, "enable_search": True}, chat(20, 16), refused="enable_search",
           prices=({"provider": "acme", "model": "m", "input": "1", "output": "2"},)),
    Attack("a built-in function", "moonshot", "kimi-k2-0905-preview",
           {**_CAPPED, "tools": [{"type": "builtin_function", "function": {"name": "$web_search"}}]}, chat(20, 16), refused="builtin_function"),
    Attack("a system that calls other models", "groq", "groq/compound", _CAPPED, chat(20, 16), refused="compound",
           prices=({"provider": "groq", "model": "*", "input": "1", "output": "2"},)),
    Attack("a tool of Gemini's to come", "google", "gemini-2.5-flash",
           {"contents": [{"parts": [{"text": "hi"}]}], "tools": [{"deepResearch": {}}]}, {"promptTokenCount": 20, "totalTokenCount": 20},
           "/v1beta/models/m:generateContent", refused="deepResearch"),
    Attack("a tool of Anthropic's to come", "anthropic", "claude-sonnet-4-5",
           {"messages": HI, "max_tokens": 16, "tools": [{"type": "deep_search_20270101", "name": "deep_search"}]},
           {"input_tokens": 20, "output_tokens": 1}, "/v1/messages", refused="deep_search_20270101"),
    Attack("a dearer snapshot answers", "openai", "gpt-4o", {"messages": HI, "max_tokens": 1000, "service_tier": "default"},
           chat(20, 1000), answer={"model": "gpt-4o-2024-05-13"}),
    Attack("a dearer snapshot answers at another host", "fireworks", "deepseek-v4-flash", {"messages": HI, "max_tokens": 1000},
           chat(20, 1000), answer={"model": "accounts/fireworks/models/deepseek-v4-flash-0731"}),
    Attack("a dearer snapshot answers to its latest name", "mistral", "mistral-small-latest", {"messages": HI, "max_tokens": 1000},
           chat(20, 1000), answer={"model": "mistral-small-2603"}),
    Attack("a snapshot with a price of the operator's", "openai", "gpt-4o", {"messages": HI, "max_tokens": 1000}, chat(20, 1000),
           answer={"model": "gpt-4o-2024-11-20"},
           prices=({"provider": "openai", "model": "gpt-4o-2024-11-20", "input": "50", "output": "100"},)),
    Attack("a model behind a deployment's name", "azure", "our-deployment", {"messages": HI, "max_tokens": 1000}, chat(20, 1000),
           answer={"model": "o1-pro-2025-03-19"}, prices=({"provider": "azure", "model": "our-deployment", "input": "1", "output": "2"},),
           route={"context_tokens": 8000, "max_output_tokens": 4000}),
    Attack("a tier that the deployment has", "azure", "gpt-4.1", {"messages": HI, "max_tokens": 1000}, chat(10, 1000),
           answer={"service_tier": "priority"}),
    Attack("a model that chooses another", "azure", "model-router", _CAPPED, chat(20, 16), answer={"model": "gpt-5"}, refused="model-router"),
    Attack("a region that the answer names", "anthropic", "claude-opus-5", {"messages": HI, "max_tokens": 1000},
           {"input_tokens": 20, "output_tokens": 1000, "inference_geo": "us"}, "/v1/messages"),
    Attack("a model of many agents", "xai", "grok-4.20-multi-agent", {"input": "hi", "max_output_tokens": 16},
           {"input_tokens": 20, "output_tokens": 16, "total_tokens": 36}, "/v1/responses", refused="multi-agent"),
    Attack("thoughts that an effort of none does not turn off", "xai", "grok-4.5", {**_CAPPED, "reasoning_effort": "none"}, _thought(20_000)),
    Attack("thoughts of a model that can be quiet and is not asked to", "xai", "grok-4.3", {**_CAPPED, "reasoning_effort": "low"}, _thought(20_000)),
    Attack("thoughts of a model that is asked for none in another spelling", "xai", "grok-4.3", {**_CAPPED, "reasoning_effort": "NONE"}, _thought(20_000)),
    *(Attack(f"a larger cap under another name: {field}", "deepseek", "deepseek-chat", {**_CAPPED, field: value}, chat(20, 5000), refused=name)
      for field, name, value in (
          ("max_new_tokens", "max_new_tokens", 5000), ("maxOutputTokens", "maxOutputTokens", 5000), ("num_predict", "num_predict", 5000),
          ("min_tokens", "min_tokens", 5000), ("parameters", "max_new_tokens", {"max_new_tokens": 5000}),
      )),
    Attack("the same cap under another name", "deepseek", "deepseek-chat", {**_CAPPED, "max_new_tokens": 16}, chat(20, 16)),
    Attack("a tier that a router sells", "openrouter", "openai/gpt-5", {**_CAPPED, "service_tier": "priority"}, chat(20, 16, cost=0.01),
           refused="service_tier"),
    Attack("a tier in camel case at a router", "openrouter", "openai/gpt-5", {**_CAPPED, "serviceTier": "ultrafast"}, chat(20, 16, cost=0.01),
           refused="service_tier"),
    Attack("a speed that a router sells", "openrouter", "anthropic/claude-opus-4.6", {**_CAPPED, "speed": "fast"}, chat(20, 16, cost=0.01),
           refused="speed"),
    Attack("a tier that the operator has priced", "openrouter", "openai/gpt-5", {"messages": HI, "max_tokens": 1000, "service_tier": "priority"},
           chat(20, 1000), answer={"service_tier": "priority"},
           prices=({"provider": "openrouter", "model": "openai/gpt-5", "input": "2.5", "output": "20", "when": {"service_tier": ["priority"]}},)),
    Attack("a large container", "openai", "gpt-5",
           {"input": "hi", "max_output_tokens": 16, "tools": [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "64g"}}]},
           _TOLD, "/v1/responses", answer=_BOXES),
    Attack("a large container of a shell", "openai", "gpt-5",
           {"input": "hi", "max_output_tokens": 16, "tools": [{"type": "shell", "environment": {"type": "container_auto", "memory_limit": "16g"}}]},
           _TOLD, "/v1/responses", answer=_BOXES),
    *(Attack(f"searches in {name}", "openai", "gpt-5", {"input": "hi", "max_output_tokens": 16} | request, _TOLD, "/v1/responses", answer=_FOUND)
      for name, request in (
          ("a namespace", {"tools": [{"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "web_search"}]}]}),
          ("an item of the input", {"input": [{"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]},
                                              {"role": "user", "content": "hi"}]}),
      )),
    Attack("pictures in an item of the input", "openai", "gpt-5",
           {"input": [{"type": "additional_tools", "role": "developer", "tools": [{"type": "image_generation"}]}, {"role": "user", "content": "hi"}],
            "max_output_tokens": 16}, _TOLD, "/v1/responses", refused="image_generation"),
    Attack("a picture beside a small cap", "google", "gemini-2.5-flash-image",
           {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 100, "responseModalities": ["IMAGE"]}},
           {"promptTokenCount": 5, "candidatesTokenCount": 1290, "totalTokenCount": 1295,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}, "/v1beta/models/m:generateContent"),
    Attack("searches of a tool in a message", "anthropic", "claude-sonnet-4-5", _inline({"type": "web_search_20260318", "name": "web_search"}),
           {"input_tokens": 1_900_000, "output_tokens": 16, "server_tool_use": {"web_search_requests": 10}}, "/v1/messages"),
    Attack("a tool in a message that asks another model", "anthropic", "claude-sonnet-4-5",
           _inline({"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}), _ANTHROPIC_LONG, "/v1/messages",
           refused="advisor"),
    Attack("a tool in a message that nobody knows", "anthropic", "claude-sonnet-4-5", _inline({"type": "deep_search_20270101"}),
           _ANTHROPIC_LONG, "/v1/messages", refused="deep_search_20270101"),
    Attack("a summary of the conversation", "anthropic", "claude-sonnet-4-5", {**_CAPPED, "compaction": {"type": "summarize"}},
           {"input_tokens": 20, "output_tokens": 16, "iterations": [{"type": "compaction", "input_tokens": 5000, "output_tokens": 3500}]},
           "/v1/messages"),
    Attack("a summary of a whole context", "anthropic", "claude-sonnet-4-5",
           {**_LONG_CONTEXT, "context_management": {"edits": [{"type": "compact_20260112"}]}},
           {"input_tokens": 200_000, "output_tokens": 16, "iterations": [
               {"type": "compaction", "input_tokens": 200_000, "output_tokens": 4000},
               {"type": "message", "input_tokens": 200_000, "output_tokens": 16}]}, "/v1/messages"),
    Attack("citations whose name is escaped", "anthropic", "claude-sonnet-4-5",
           {"max_tokens": 16, "messages": [{"role": "user", "content": [{"type": "document", "citations": {"enabled": True},
            "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}]}]}, {"input_tokens": 1400, "output_tokens": 16},
           "/v1/messages", raw=("citations", "\\u0063itations")),
    Attack("several passes for one answer", "openai", "gpt-5.6", {"input": "hi", "max_output_tokens": 16, "reasoning": {"mode": "pro"}},
           _TOLD, "/v1/responses", refused="reasoning.mode"),
    Attack("a context that is compacted on request", "openai", "gpt-5.1",
           {"input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}], "max_output_tokens": 16},
           {"input_tokens": 20, "output_tokens": 4000, "total_tokens": 4020}, "/v1/responses"),
    Attack("pictures in a namespace of a namespace", "openai", "gpt-5",
           {"input": "hi", "max_output_tokens": 16, "tools": [{"type": "namespace", "name": "a", "tools": [
               {"type": "namespace", "name": "b", "tools": [{"type": "image_generation"}]}]}]}, _TOLD, "/v1/responses",
           refused="image_generation"),
    *(Attack(f"a dearer {field} that has no price: {value}", provider, model, {**_CAPPED, field: value}, chat(20, 16),
             refused=field,
             prices=({"provider": "cerebras", "model": "*", "input": "1", "output": "2"},))
      for provider, model, field, value in (
          ("openai", "gpt-5.1", "service_tier", "ultrafast"), ("groq", "llama-3.3-70b-versatile", "service_tier", "performance"),
          ("cerebras", "gpt-oss-120b", "service_tier", "Priority"),
      )),
    Attack("a speed that a model has no price for", "anthropic", "claude-sonnet-4-5", {"messages": HI, "max_tokens": 16, "speed": "fast"},
           {"input_tokens": 20, "output_tokens": 16, "speed": "fast"}, "/v1/messages", refused="speed"),
    Attack("a speed that a model has a price for", "anthropic", "claude-opus-4-8", {"messages": HI, "max_tokens": 1000, "speed": "fast"},
           {"input_tokens": 20, "output_tokens": 1000, "speed": "fast"}, "/v1/messages"),
    Attack("a cache that is filled before it is needed", "anthropic", "claude-sonnet-4-5", {**_WARM, "max_tokens": 0}, _WARMED, "/v1/messages"),
    Attack("a cap of 0 where it may be none", "minimax", "MiniMax-M2", {"messages": HI, "max_tokens": 0},
           {"input_tokens": 20, "output_tokens": 3000}, "/v1/messages", dialect="anthropic"),
    Attack("a model that screens the call", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", {**_CAPPED, "safety_model": "meta-llama/x"},
           chat(20, 16), refused="safety_model"),
    Attack("a guard that screens the call", "mistral", "mistral-large-latest", {**_CAPPED, "guardrails": [{"moderation_llm_v2": {}}]},
           chat(20, 16), refused="guardrails"),
    *(Attack(f"sound of {model}", provider, model, _spoken(), _HEARD, refused=refused,
             prices=({"provider": "stepfun-ai", "model": "*", "input": "1", "output": "2"},))
      for provider, model, refused in (
          ("dashscope", "qwen-omni-turbo", ""), ("dashscope", "qwen3-omni-flash-2025-12-01", ""),
          ("novita", "qwen/qwen3-omni-30b-a3b-instruct", ""), ("dashscope", "qwen3.8-omni-flash", "audio_in"),
          ("stepfun-ai", "step-1o-audio", "audio_in"),
      )),
    *(Attack(f"sound that goes in at {model}", "openrouter", model,
             {name: value for name, value in _spoken().items() if name not in ("modalities", "audio")},
             chat(270, 16, prompt_tokens_details={"audio_tokens": 250}), refused=refused)
      for model, refused in (("google/gemini-2.5-pro", ""), ("mistralai/voxtral-small-24b-2507", "audio_in"))),
    Attack("a film that a model only sees", "openrouter", "qwen/qwen3-vl-235b-a22b-instruct",
           {"max_tokens": 16, "messages": [{"role": "user", "content": [
               {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}]}]}, chat(20_000, 16),
           route={"context_tokens": 262_144}),
    Attack("sound that the operator has priced", "dashscope", "qwen3.8-omni-flash", _spoken(), _HEARD,
           prices=({"provider": "dashscope", "model": "qwen3.8-omni-flash", "audio_in": "5", "audio_out": "20"},)),
    *(Attack(f"a square picture of {model}", "openai", model, {"prompt": "p", "size": "1024x1024", "quality": quality}, _pictures(7024),
             "/v1/images/generations") for model, quality in (("gpt-image-2", "high"), ("gpt-image-2.5-sunburst", "max"))),
    Attack("pictures of a film", "openai", "gpt-image-2.5-flare",
           {"prompt": "p", "size": "1024x1024", "output_format": "gif", "frame_count": 16}, _pictures(16 * 7024), "/v1/images/generations"),
    Attack("a picture that is planned first", "openai", "gpt-image-2.5-flare", {"prompt": "p", "size": "1024x1024", "complexity": "high"},
           _pictures(1756, 12_000), "/v1/images/generations"),
    *(Attack(f"a picture that another model writes: {name}", "openai", "gpt-image-2.5-flare", {"prompt": "p", name: value}, _pictures(4160),
             "/v1/images/generations", refused="SVG") for name, value in (("output_format", "svg"), ("svg", {"model": "gpt-6-astra"}))),
    Attack("an answer that is gone on with", "google", "gemini-2.5-flash",
           {"contents": [{"parts": [{"text": "hi"}]}], "continuationToken": "x", "generationConfig": {"maxOutputTokens": 16}},
           {"promptTokenCount": 200_000, "candidatesTokenCount": 16, "totalTokenCount": 200_016}, _GEMINI_PATH),
    *(Attack(f"a picture {how}", "google", "gemini-2.5-flash", _picture(**more),
             {"promptTokenCount": 20_000, "candidatesTokenCount": 16, "totalTokenCount": 20_016,
              "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 20_000}]}, _GEMINI_PATH)
      for how, more in (
          ("of as many tokens as are asked for", {"mediaResolution": {"numTokens": 20_000}}),
          ("that is looked at again and again", {"media_processing": "AGENTIC"}),
          ("in several layers", {"documentMetadata": {"contentLayers": ["PAGE_IMAGE", "PAGE_TEXT"]}}),
          ("in layers of a film", {"video_metadata": {"content_layers": ["FRAMES", "AUDIO", "TRANSCRIPT"]}}),
      )),
)  # fmt: skip
