"""Random requests of Messages, Responses and Gemini, and the dearest bill that their providers' rules allow for each.

Every byte is a token, every cap is used up, all that may be written to a cache is, tools are called as often as they may be
and each reads a whole context more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attack.random_bills import TEXTS
from tests.attack.random_bodies import Tally
from tests.flow.house import Answer, House, Told

CONTEXT, MOST_OUTPUT = 64_000, 8_000
_SHARE = st.floats(0, 1)
_CACHE = st.sampled_from(
    [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"}, {"type": "ephemeral", "ttl": "1h"}]
)
_FUNCTION = {"type": "object", "properties": {"a": {"type": "string"}}}


@dataclass(frozen=True)
class Law:
    """One API. bill: what the provider answers to a body, by how much of its cap was used and of its tools called."""

    provider: str
    model: str
    path: str
    fields: st.SearchStrategy[dict[str, Any]]
    bill: Callable[[Mapping[str, Any], float, float], dict[str, Any]]
    dialect: str = "openai"


def _some(*tools: dict[str, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.sampled_from(tools), min_size=1, max_size=3, unique_by=lambda tool: str(tool.get("type", tool)))


def _size(*parts: object) -> int:
    return min(sum(len(orjson.dumps(part)) for part in parts if part is not None), CONTEXT)


# Anthropic's Messages


def _block(text: str, control: dict[str, str] | None) -> dict[str, Any]:
    return {"type": "text", "text": text or "x", **({"cache_control": control} if control else {})}


_MESSAGES = st.fixed_dictionaries(
    {
        "messages": st.lists(st.builds(_block, TEXTS, st.none() | _CACHE), min_size=1, max_size=3).map(
            lambda blocks: [{"role": "user", "content": blocks}]
        ),
        "max_tokens": st.integers(1, 9000),
    },
    optional={
        "system": TEXTS,
        "cache_control": _CACHE,
        "service_tier": st.sampled_from(["auto", "standard_only"]),
        "inference_geo": st.sampled_from(["us", "global"]),
        "speed": st.sampled_from(["standard", "fast"]),
        "thinking": st.sampled_from([{"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}, {"type": "adaptive"}]),
        "tools": _some(
            {"name": "f", "input_schema": _FUNCTION},
            {"type": "web_search_20250305", "name": "web_search"},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            {"type": "code_execution_20250825", "name": "code_execution"},
        ),
    },
)  # fmt: skip


def _messages_bill(body: Mapping[str, Any], used: float, called: float) -> dict[str, Any]:
    tools = body.get("tools") or []
    given = _size(body["messages"], body.get("system"), tools) + (346 if tools else 0)
    searches = sum(
        int(called * tool.get("max_uses", 5)) for tool in tools if str(tool.get("type")).startswith("web_search")
    )
    given += searches * CONTEXT
    text = orjson.dumps(body)
    written = given if b'"cache_control"' in text else 0
    long = written if b'"1h"' in text else 0
    usage = {
        "input_tokens": given - written, "output_tokens": int(used * min(body["max_tokens"], MOST_OUTPUT)),
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_1h_input_tokens": long, "ephemeral_5m_input_tokens": written - long},
        "server_tool_use": {"web_search_requests": searches}, "speed": body.get("speed", "standard"), "inference_geo": "us",
    }  # fmt: skip
    return {"type": "message", "model": body["model"], "content": [], "stop_reason": "end_turn", "usage": usage}


# OpenAI's Responses


_RESPONSES = st.fixed_dictionaries(
    {"input": TEXTS.filter(bool)},
    optional={
        "instructions": TEXTS,
        "max_output_tokens": st.integers(16, 9000),
        "max_tool_calls": st.integers(1, 5),
        "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
        "reasoning": st.sampled_from([{"effort": "low"}, {"effort": "high", "summary": "auto"}]),
        "prompt_cache_retention": st.sampled_from(["in_memory", "24h"]),
        "tools": _some(
            {"type": "function", "name": "f", "parameters": _FUNCTION},
            {"type": "web_search"},
            {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}},
            {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "web_search"}]},
        ),
    },
)


def _responses_bill(body: Mapping[str, Any], used: float, called: float) -> dict[str, Any]:
    tools = body.get("tools") or []
    names = orjson.dumps(tools).decode()
    calls = int(called * body.get("max_tool_calls", 10)) if "web_search" in names or "code_interpreter" in names else 0
    kinds = ["web_search_call"] * ("web_search" in names) + ["code_interpreter_call"] * ("code_interpreter" in names)
    items = [
        {"type": kinds[n % len(kinds)], "id": f"i_{n}", "container_id": f"c_{n}", "action": {"type": "search"}}
        for n in range(calls)
    ]
    given = _size(body["input"], body.get("instructions"), tools) + calls * CONTEXT
    taken = int(used * min(body.get("max_output_tokens", MOST_OUTPUT), MOST_OUTPUT))
    tier = {"auto": "priority", None: "priority"}.get(body.get("service_tier"), body.get("service_tier"))
    usage = {"input_tokens": given, "output_tokens": taken, "total_tokens": given + taken}
    return {
        "object": "response", "status": "completed", "model": body["model"], "output": items, "usage": usage,
        "tools": tools, "service_tier": tier,
    }  # fmt: skip


# Google's generateContent


_GENERATE = st.fixed_dictionaries(
    {
        "contents": st.lists(TEXTS.filter(bool).map(lambda text: {"role": "user", "parts": [{"text": text}]}), min_size=1, max_size=3),
        "generationConfig": st.fixed_dictionaries(
            {},
            optional={
                "maxOutputTokens": st.integers(1, 9000),
                "candidateCount": st.integers(1, 8),
                "thinkingConfig": st.sampled_from([{"thinkingBudget": 1024}, {"thinking_budget": -1}]),
            },
        ),
    },
    optional={
        "systemInstruction": TEXTS.map(lambda text: {"parts": [{"text": text}]}),
        "serviceTier": st.sampled_from(["standard", "flex", "priority"]),
        "tools": _some(
            {"functionDeclarations": [{"name": "f", "parameters": _FUNCTION}]}, {"googleSearch": {}}, {"codeExecution": {}},
            {"urlContext": {}},
        ),
    },
)  # fmt: skip


def _generate_bill(body: Mapping[str, Any], used: float, called: float) -> dict[str, Any]:
    config, tools = body["generationConfig"], body.get("tools") or []
    hosted = [name for tool in tools for name in tool if name != "functionDeclarations"]
    given = _size(body["contents"], body.get("systemInstruction"), tools)
    count = config.get("candidateCount", 1)
    written = int(used * min(config.get("maxOutputTokens", MOST_OUTPUT), MOST_OUTPUT)) * count
    brought = int(called * CONTEXT) if hosted else 0
    usage = {
        "promptTokenCount": given, "candidatesTokenCount": written - written // 2, "thoughtsTokenCount": written // 2,
        "toolUsePromptTokenCount": brought, "totalTokenCount": given + written + brought,
        "serviceTier": body.get("serviceTier"),
    }  # fmt: skip
    grounding = {"webSearchQueries": [f"q{n}" for n in range(int(called * 3))]} if "googleSearch" in hosted else {}
    return {"candidates": [{"groundingMetadata": grounding}], "usageMetadata": usage}


LAWS = {
    "messages": Law("anthropic", "claude-opus-4-6", "/v1/messages", _MESSAGES, _messages_bill, "anthropic"),
    "responses": Law("openai", "gpt-5", "/v1/responses", _RESPONSES, _responses_bill),
    "generate": Law(
        "google", "gemini-2.5-flash", "/v1beta/models/m:generateContent", _GENERATE, _generate_bill, "gemini"
    ),
}


def any_bill_of(folder: Path, examples: int, tally: Tally, *, api: str, same: bool = False) -> int:
    """So many random requests of one API; how many were answered. same: the same ones each time."""
    law = LAWS[api]
    house = House(
        folder,
        upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-up", "provider": law.provider, "dialect": law.dialect}},
        models={"m": {"upstream": "up", "model": law.model, "context_tokens": CONTEXT, "max_output_tokens": MOST_OUTPUT}},
        prices=[],
        budgets=[{"name": "b", "limit_usd": 100_000, "window": "total", "clamp": False}],
    )  # fmt: skip
    answered = 0

    async def once(request: dict[str, Any], used: float, called: float) -> Told:
        async def answer(body: dict[str, Any]) -> Answer:
            return Answer(orjson.dumps(law.bill({"model": law.model, **body}, used, called)))

        house.answering = answer
        named = request if law.dialect == "gemini" else {"model": "m", **request}
        return await house.ask(path=law.path, chat=False, **named)

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=same
    )
    @given(law.fields, _SHARE, _SHARE)
    def some(request: dict[str, Any], used: float, called: float) -> None:
        nonlocal answered
        told = asyncio.run(once(request, used, called))
        tally.note(told, request)
        tally.note_records(house, request)
        answered += told.status == 200

    some()
    house.plane.spool.close()
    return answered
