"""The table of what real clients send: an example of each, as captured or as its source has it."""

from __future__ import annotations

import json
import re
from typing import Any

from proxy.sessions.known_clients import FAMILIES, TABLE, ClientSession, client_family, client_of, find
from tests.support.rows import each_row

UUID = "3f6b1c9e-8f0a-4a57-9d6e-0f8f5a3a1b2c"
CODEX_TURN = {
    "session_id": UUID, "thread_id": UUID, "turn_id": "t", "root_turn_id": "t", "agent_name": "/root/reviewer",
    "installation_id": "i", "workspaces": {"/home/me/app": {}},
}  # fmt: skip

# (entry, user agent, headers, body, found). Captured from the real clients against a loopback server unless said otherwise.
EXAMPLES: list[tuple[str, str, dict[str, str], dict[str, Any], ClientSession]] = [
    (
        "_claude_code", "claude-cli/2.1.332 (external, sdk-cli)",
        {"x-claude-code-session-id": UUID, "x-app": "cli"},
        {"metadata": {"user_id": json.dumps({"device_id": "d", "account_uuid": "", "session_id": UUID})}},
        ClientSession(UUID, "claude-code"),
    ),
    (
        "_claude_code", "claude-cli/2.1.332 (external, sdk-cli)",
        {"x-claude-code-session-id": UUID, "x-claude-code-agent-id": "agent-7", "x-claude-code-parent-agent-id": "agent-1"},
        {}, ClientSession(UUID, "claude-code", None, "agent-7", "agent-1"),
    ),
    (
        "_codex", "codex_exec/0.171.0 (Debian 12; x86_64) unknown",
        {"session-id": UUID, "thread-id": UUID, "x-client-request-id": UUID, "originator": "codex_exec"},
        {"prompt_cache_key": UUID}, ClientSession(UUID, "codex"),
    ),
    (
        "_codex", "codex_exec/0.171.0", {"x-codex-turn-metadata": json.dumps(CODEX_TURN)}, {},
        ClientSession(UUID, "codex", None, "/root/reviewer"),
    ),
    (  # a thread that its tool spawn_agent started: the session's id is the main thread's, and so is the agent's name
        "_codex", "codex_exec/0.171.0 (Debian 12.0.0; x86_64) unknown (codex_exec; 0.171.0)",
        {
            "session-id": UUID, "thread-id": "01a20910-ab9c-7cd0-a42d-270512841e1e", "x-codex-parent-thread-id": UUID,
            "x-openai-subagent": "collab_spawn", "originator": "codex_exec",
            "x-client-request-id": "01a20910-ab9c-7cd0-a42d-270512841e1e",
            "x-codex-turn-metadata": json.dumps({
                "session_id": UUID, "thread_id": "01a20910-ab9c-7cd0-a42d-270512841e1e", "agent_name": "/root",
                "parent_thread_id": UUID, "subagent_kind": "thread_spawn", "thread_source": "subagent",
            }),
        },
        {"prompt_cache_key": UUID}, ClientSession(UUID, "codex", None, "01a20910-ab9c-7cd0-a42d-270512841e1e"),
    ),
    (  # as above, started by such a thread in turn
        "_codex", "codex_exec/0.171.0", {"session-id": UUID, "thread-id": "thread-3", "x-codex-parent-thread-id": "thread-2"}, {},
        ClientSession(UUID, "codex", None, "thread-3", "thread-2"),
    ),
    ("_codex", "codex_cli_rs/0.40.0", {"session_id": UUID, "conversation_id": UUID}, {}, ClientSession(UUID, "codex")),
    ("_codex", "codex_cli_rs/0.40.0", {}, {"prompt_cache_key": UUID}, ClientSession(UUID, "codex")),
    (
        "_opencode", "opencode/1.18.33 ai-sdk/provider-utils/4.0.1",
        {"x-session-id": "ses_4f2a", "x-session-affinity": "ses_4f2a"}, {}, ClientSession("ses_4f2a", "opencode"),
    ),
    (
        "_opencode", "opencode/1.18.33", {"x-session-id": "ses_child", "x-parent-session-id": "ses_4f2a"}, {},
        ClientSession("ses_child", "opencode", "ses_4f2a"),
    ),
    ("_opencode", "Kilo-Code/7.7.7 ai-sdk/openai-compatible/3.0.37", {"x-session-id": "ses_4f2a", "x-session-affinity": "ses_4f2a"}, {}, ClientSession("ses_4f2a", "kilo")),
    ("_opencode", "Kilo-Code/7.7.7", {"x-session-id": "title-ses_4f2a", "x-session-affinity": "title-ses_4f2a"}, {}, ClientSession("ses_4f2a", "kilo", agent="title")),
    ("_opencode", "Kilo-Code/7.7.7", {"x-session-id": "ses_child", "x-parent-session-id": "ses_4f2a"}, {}, ClientSession("ses_child", "kilo", "ses_4f2a")),
    ("_opencode", "my-own-agent/1", {"x-session-id": "run-1"}, {}, ClientSession("run-1", "header")),
    ("_pi", "pi/1.6.0", {"session-id": UUID, "x-client-request-id": UUID}, {"prompt_cache_key": UUID}, ClientSession(UUID, "pi")),
    ("_cache_key", "kimi-code-cli/2.1.0", {}, {"prompt_cache_key": f"session_{UUID}"}, ClientSession(f"session_{UUID}", "kimi-code")),
    ("_cache_key", "OpenAI/JS 5.20.1", {"x-initiator": "user", "x-interaction-type": "conversation-agent"}, {"prompt_cache_key": "0f" * 16}, ClientSession("0f" * 16, "copilot")),
    # pi with an older user agent, and whoever does as it does
    ("_cache_key", "OpenAI/JS 6.26.0", {"session-id": UUID, "x-client-request-id": UUID}, {"prompt_cache_key": UUID}, ClientSession(UUID, "prompt_cache_key")),
    ("_cache_key", "x", {"x-client-request-id": UUID}, {"prompt_cache_key": UUID}, ClientSession(UUID, "prompt_cache_key")),
    # litellm/proxy/litellm_pre_call_utils.py
    ("_litellm", "python-httpx/0.28", {"x-litellm-trace-id": "trace-1", "x-litellm-agent-id": "planner"}, {}, ClientSession("trace-1", "litellm", None, "planner")),
    # docs.helicone.ai/features/sessions
    ("_helicone", "OpenAI/Python 3.54.0", {"helicone-session-id": UUID, "helicone-session-path": "/a/b"}, {}, ClientSession(UUID, "helicone")),
    # langfuse.com/docs: as LiteLLM's proxy takes it
    ("_langfuse", "OpenAI/Python 3.54.0", {"langfuse_session_id": "lf-1"}, {}, ClientSession("lf-1", "langfuse")),
    ("_any_vendor", "x", {"x-acme-session-id": "acme_12345678"}, {}, ClientSession("acme_12345678", "header")),
    ("_portkey", "x", {"x-portkey-trace-id": "pk-1"}, {}, ClientSession("pk-1", "portkey")),
    ("_metadata", "Anthropic/Python 2.12.0", {}, {"metadata": {"user_id": json.dumps({"session_id": UUID})}}, ClientSession(UUID, "metadata")),
    ("_metadata", "claude-cli/1.0.20", {}, {"metadata": {"user_id": f"user_ab12_account_{UUID}_session_{UUID}"}}, ClientSession(UUID, "metadata")),
    ("_metadata", "OpenAI/Python 3.54.0", {}, {"metadata": {"session_id": "mine-1"}}, ClientSession("mine-1", "metadata")),
    ("_metadata", "OpenAI/Python 3.54.0", {}, {"metadata": {"trace_id": "trace-9"}}, ClientSession("trace-9", "metadata")),
    ("_client_metadata", "x", {}, {"client_metadata": {"session_id": UUID}}, ClientSession(UUID, "metadata")),
    ("_client_metadata", "x", {}, {"litellm_session_id": "ll-1"}, ClientSession("ll-1", "metadata")),
    # w3.org/TR/baggage
    ("_baggage", "x", {"baggage": "userId=a, session.id=s%2F1;meta=1,other=2"}, {}, ClientSession("s/1", "baggage")),
    # w3.org/TR/trace-context
    ("_trace", "x", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, {}, ClientSession("4bf92f3577b34da6a3ce929d0e0e4736", "traceparent")),
]  # fmt: skip


@each_row(("entry", "agent", "headers", "body", "found"), EXAMPLES)
def test_each_entry_finds_what_its_client_sends(
    entry: str, agent: str, headers: dict[str, str], body: dict[str, Any], found: ClientSession
) -> None:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    look = next(look for look in TABLE if look.__name__ == entry)
    client = client_of({**raw, b"user-agent": agent.encode()})
    assert look(raw, body, client) == found
    assert find(raw, body, client) == found


def test_every_entry_has_an_example() -> None:
    assert {look.__name__ for look in TABLE} == {example[0] for example in EXAMPLES}


@each_row(
    ("headers", "body"),
    [
        ({}, {}),
        ({"x-parent-session-id": "ses_parent_1"}, {}),
        ({"x-session-affinity": "ses_12345678"}, {}),
        ({"x-parent-session-id": "abcdefgh", "x-acme-parent-session-id": "abcdefgh"}, {}),
        ({"x-acme-session-id": "short"}, {}),
        ({"session-id": UUID}, {}),  # only Codex and pi mean their session by it
        ({"session-id": UUID, "x-client-request-id": "req-1"}, {"prompt_cache_key": "all-of-our-calls"}),
        ({"x-client-request-id": UUID}, {"prompt_cache_key": {"a": 1}}),
        ({"traceparent": "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, {}),
        ({"traceparent": "nonsense"}, {}),
        ({"baggage": "session.id="}, {}),
        ({}, {"metadata": "text"}),
        ({}, {"metadata": {"session_id": 5, "user_id": "{broken", "trace_id": ""}}),
        ({}, {"metadata": {"user_id": "x" * 100_000}}),
        ({}, {"client_metadata": [1], "prompt_cache_key": UUID}),
    ],
)
def test_what_is_no_session_is_none(headers: dict[str, str], body: dict[str, Any]) -> None:
    assert find({name.encode(): value.encode() for name, value in headers.items()}, body, "other") is None


# (user agent, other headers, family), as the programs send them
AGENTS = [
    ("GeminiCLI-tui/0.61.0/gemini-3.8-flash (linux; x64; terminal)", (), "gemini-cli"),
    ("QwenCode/0.24.4 (linux; x64)", (), "qwen-code"),
    ("pi/1.6.0", (), "pi"),
    ("Kilo-Code/7.7.7 ai-sdk/openai-compatible/3.0.37 ai-sdk/provider-utils/5.0.1", (), "kilo"),
    ("opencode/1.18.33 ai-sdk/provider-utils/4.0.1 runtime/bun", (), "opencode"),
    ("kimi-code-cli/2.1.0", (), "kimi-code"),
    ("OpenAI/JS 5.20.1", ("x-initiator",), "copilot"),
    ("Anthropic/JS 0.94.0", ("x-initiator",), "copilot"),
    ("OpenAI/JS 5.20.1", (), "openai-node"),
    ("ls/JS 5.23.2", (), "openai-node"),
    ("Agents/Python 0.24.0", (), "openai-agents"),
    ("pydantic-ai/2.68.0", (), "pydantic-ai"),
    ("DSPy/3.4.1", (), "dspy"),
    ("lm15/stdlib", (), "dspy"),
    ("google-genai-sdk/1.70.0 gl-python/3.11.7 google-adk/2.13.0 gl-python/3.11.7", (), "google-adk"),
    ("google-genai-sdk/1.70.0 gl-python/3.11.7", (), "google-genai"),
    ("OpenAI/Go 3.99.0", (), "openai-go"),
    ("Anthropic/Go 1.84.0", (), "anthropic-go"),
    ("OpenAIClientImpl/Java 4.105.0", (), "openai-java"),
    ("OpenAIClientAsyncImpl/Java 4.105.0", (), "openai-java"),
    ("AnthropicClientImpl/Java 3.14.0", (), "anthropic-java"),
    ("google-genai-sdk/2.3.0 gl-java/17.0.15", (), "google-genai"),
    ("langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))", (), "langchain"),
    ("langchain4j-openai", (), "langchain4j"),
    ("LangChain4j", (), "langchain4j"),
    ("app/devel langchaingo/v0.1.14 Go/go1.26.8 (linux amd64)", (), "langchaingo"),
    ("spring-ai-openai", (), "spring-ai"),
    ("spring-ai-anthropic-sdk", (), "spring-ai"),
    ("AsyncOpenAI/Python 3.57.0", (), "openai-python"),
    ("AsyncAzureOpenAI/Python 3.57.0", (), "openai-python"),
    ("AsyncAnthropic/Python 2.14.0", (), "anthropic-python"),
    ("ai/7.0.173 ai-sdk/provider-utils/5.0.1 runtime/node.js/22", (), "vercel-ai"),
    ("ai-sdk-openai/4.0.12", (), "vercel-ai"),
    ("ai-sdk/openai-compatible/3.0.37 ai-sdk/provider-utils/5.0.1 runtime/bun", (), "vercel-ai"),
    ("litellm/1.110.2", (), "litellm"),
    ("my-api/1.0 openai/", (), "other"),
    ("Mozilla/5.0", ("x-initiator",), "other"),
]


@each_row(("agent", "headers", "family"), AGENTS)
def test_each_client_is_of_its_family(agent: str, headers: tuple[str, ...], family: str) -> None:
    sent = {name.encode(): b"user" for name in headers}
    assert client_of({**sent, b"user-agent": agent.encode()}) == family


def test_a_capture_says_which_version_and_when() -> None:
    assert {one.name for one in FAMILIES if not one.captured} == {"curl"}
    assert all(re.search(r"\d+(\.\d+)+, 20\d\d-\d\d$", one.captured) for one in FAMILIES if one.captured)


def test_no_family_hides_another() -> None:
    for family in FAMILIES:
        assert client_family(family.mark) == family.name
