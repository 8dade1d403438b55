"""What real clients send that says which run of theirs a call belongs to: one ordered table. Pure.

Each entry has an example of what that client really sends, which the tests feed to it; where it comes from is in the
examples' comments. An entry gives None for anything that is not exactly of that shape: the next one is asked then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import orjson

Headers = Mapping[bytes, bytes]
Body = Mapping[str, Any]


class Family(NamedTuple):
    """A client's kind by a mark in its user agent. captured: the version and month it was seen; "" for what was only read.

    at_start: where the mark is too short to be looked for anywhere.
    """

    mark: bytes
    name: str
    captured: str = ""
    at_start: bool = False


# The first that fits; programs before the SDKs that they are made with.
FAMILIES = (
    Family(b"claude-cli", "claude-code", "2.1.332, 2026-11"),
    Family(b"codex", "codex", "0.171.0, 2026-11"),
    Family(b"opencode", "opencode", "1.18.33, 2026-11"),
    Family(b"Kilo-Code/", "kilo", "7.7.7, 2026-11"),
    Family(b"QwenCode", "qwen-code", "0.24.4, 2026-11"),
    Family(b"GeminiCLI", "gemini-cli", "0.61.0, 2026-11"),
    Family(b"kimi-code-cli/", "kimi-code", "2.1.0, 2026-11"),
    Family(b"pi/", "pi", "1.6.0, 2026-11", at_start=True),
    Family(b"Agents/Python", "openai-agents", "0.24.0, 2026-11"),
    Family(b"pydantic-ai/", "pydantic-ai", "2.68.0, 2026-11"),
    Family(b"DSPy/", "dspy", "3.4.1, 2026-11"),
    Family(b"lm15/", "dspy", "3.4.1, 2026-11", at_start=True),  # where it asks without LiteLLM, its default
    Family(b"google-adk/", "google-adk", "2.13.0, 2026-11"),
    # Also its async and Azure clients: aider, crewai, agno and most others.
    Family(b"OpenAI/Python", "openai-python", "3.57.0, 2026-11"),
    Family(b"OpenAI/JS", "openai-node", "7.59.0, 2026-11"),
    Family(b"OpenAI/Go", "openai-go", "3.99.0, 2026-11"),
    Family(b"OpenAIClient", "openai-java", "4.105.0, 2026-11", at_start=True),  # its class's name: Impl, AsyncImpl
    Family(b"Anthropic/Python", "anthropic-python", "2.14.0, 2026-11"),
    Family(b"Anthropic/JS", "anthropic-node", "0.94.0, 2026-11"),
    Family(b"Anthropic/Go", "anthropic-go", "1.84.0, 2026-11"),
    Family(b"AnthropicClient", "anthropic-java", "3.14.0, 2026-11", at_start=True),
    Family(b"ls/JS ", "openai-node", "cn 1.5.47, 2026-11", at_start=True),  # continue's build shortens the SDK's name
    Family(b"google-genai-sdk", "google-genai", "google-adk 2.13.0, 2026-11"),
    Family(b"ai-sdk", "vercel-ai", "7.0.173, 2026-11"),  # cline and mastra too
    Family(b"ai/", "vercel-ai", "7.0.173, 2026-11", at_start=True),
    Family(b"langchain4j", "langchain4j", "1.19.0, 2026-11", at_start=True),  # asking OpenAI's API; another project
    Family(b"LangChain4j", "langchain4j", "1.19.0, 2026-11", at_start=True),  # asking Gemini's
    Family(b"langchaingo/", "langchaingo", "0.1.14, 2026-11"),  # behind its program's own name
    Family(b"langchain", "langchain", "js 1.5.8, 2026-11"),
    Family(b"spring-ai-", "spring-ai", "2.0.1, 2026-11", at_start=True),
    Family(b"litellm", "litellm", "1.110.2, 2026-11"),
    Family(b"curl/", "curl"),
)
# Copilot, 1.0.102, 2026-11: the SDK's own user agent, and a header that says who asks: `user` or `agent`.
_COPILOT = (b"x-initiator", frozenset({"openai-node", "anthropic-node"}))
_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_MAX_ID = 200
_HASH_CHARS = 32
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_LEAST_VENDOR_ID = 8  # shorter ones under a name that is only guessed are no sessions, but numbers of something
_VENDOR = re.compile(rb"x-[a-z0-9-]+-session-id\Z")
_NOT_A_SESSION = (b"parent", b"affinity")
_LEGACY_USER_ID = re.compile(r"_session_([A-Za-z0-9-]{8,200})\Z")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_MAX_JSON = 16_384
# Without any of these (and no `x-…-session-id`) no entry finds anything; some clients are asked for more.
_SIGNS_IN_HEADERS = frozenset({
    b"langfuse_session_id", b"x-litellm-trace-id", b"x-portkey-trace-id", b"baggage", b"traceparent",
})  # fmt: skip
_SIGNS_IN_BODIES = frozenset({"metadata", "client_metadata", "litellm_session_id", "prompt_cache_key"})
_ASKED_FOR_MORE = frozenset({"codex", "pi"})
# What is read beside such a sign in a body, or of those clients.
_READ_BESIDE = frozenset({
    b"session-id", b"session_id", b"thread-id", b"conversation_id", b"x-client-request-id", b"x-codex-parent-thread-id",
    b"x-codex-turn-metadata",
})  # fmt: skip
# Who means one run by a `prompt_cache_key`; to others it may be one key for all that they do.
_BY_CACHE_KEY = frozenset({"pi", "kimi-code", "copilot"})
_MAX_SILENT, _MAX_SILENT_BYTES = 4096, 64
_OWN_SESSION_HEADER = frozenset({"opencode", "kilo"})
_TITLE = "title-"
_KILO_TITLE = f"{_TITLE}ses_"


class ClientSession(NamedTuple):
    """A session that the client named. `source` is the entry that found it; the others where it says them.

    agent: a sub-agent; None on the session's main thread. parent_agent: the sub-agent that started it, where one did.
    """

    session_id: str
    source: str
    parent: str | None = None
    agent: str | None = None
    parent_agent: str | None = None


@lru_cache(maxsize=256)
def client_family(user_agent: bytes) -> str:
    """The client's kind, by a mark in its user agent: a bounded set of names, fit for a metric's label."""
    for family in FAMILIES:
        if user_agent.startswith(family.mark) if family.at_start else family.mark in user_agent:
            return family.name
    return "other"


def client_of(headers: Headers) -> str:
    """The client's kind, by its user agent and, where that names an SDK only, by what else it sends."""
    family = client_family(headers.get(b"user-agent", b""))
    mark, made_with = _COPILOT
    return "copilot" if mark in headers and family in made_with else family


def find(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """What the first entry that finds something says; None where the call names no session."""
    if (not headers or are_silent(headers)) and _SIGNS_IN_BODIES.isdisjoint(body) and client not in _ASKED_FOR_MORE:
        return None  # what most calls are
    for look in TABLE:
        session = look(headers, body, client)
        if session is not None:
            return session
    return None


_silent: set[bytes] = set()  # names of headers that say nothing of sessions, remembered: clients send the same ones


def are_silent_beside(headers: Headers) -> bool:
    """Whether every entry finds, whatever the body and the client, what it finds without these headers."""
    return _READ_BESIDE.isdisjoint(headers) and are_silent(headers)


def are_silent(headers: Headers) -> bool:
    """Whether no entry finds anything in headers of these names alone; some clients are asked for more."""
    if _silent.issuperset(headers):
        return True
    if not _SIGNS_IN_HEADERS.isdisjoint(headers) or any(name.endswith(b"-session-id") for name in headers):
        return False
    if len(_silent) < _MAX_SILENT:
        _silent.update(name for name in headers if len(name) <= _MAX_SILENT_BYTES)
    return True


def _header(headers: Headers, name: bytes) -> str | None:
    raw = headers.get(name)
    if not raw:
        return None
    try:
        return canonical(raw.decode())
    except UnicodeDecodeError:
        return canonical(raw.decode("latin-1"))


def _text(value: object) -> str | None:
    return canonical(value) if isinstance(value, str) else None


def canonical(text: str) -> str | None:
    """A name as it is counted and shown: 1 to 200 visible ASCII characters. None where there is none.

    Whatever a client calls its session is a session, or its budget would not hold: what is no visible ASCII is
    percent-encoded (as UTF-8), and what is too long is cut and told apart by a hash. Two spellings may come to one name.
    """
    text = text.strip()
    if _ID.match(text):
        return text
    if not text:
        return None
    encoded = quote(text[:_MAX_ID], safe=_VISIBLE, errors="replace")
    if len(text) <= _MAX_ID and len(encoded) <= _MAX_ID:
        return encoded
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARS]
    return f"{encoded[: _MAX_ID - _HASH_CHARS - 1]}~{digest}"


def _mapping(value: object) -> Mapping[str, Any]:
    """An object, or one that is written as a JSON string."""
    if isinstance(value, str) and value.startswith("{") and len(value) <= _MAX_JSON:
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}
    return value if isinstance(value, dict) else {}


def _claude_code(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _header(headers, b"x-claude-code-session-id")
    if session is None:
        return None
    agent, above = _header(headers, b"x-claude-code-agent-id"), _header(headers, b"x-claude-code-parent-agent-id")
    return ClientSession(session, "claude-code", None, agent, above)


def _codex(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """A thread of its own for each sub-agent, all in one session; on the main thread, the session's id is the thread's.

    `agent_name` is `/root` there, and may be so on others.
    """
    if client != "codex":
        return None
    turn = _mapping((headers.get(b"x-codex-turn-metadata") or b"").decode("latin-1"))
    session = _header(headers, b"session-id") or _header(headers, b"session_id") or _text(turn.get("session_id"))
    thread = _header(headers, b"thread-id") or _header(headers, b"conversation_id") or _text(turn.get("thread_id"))
    session_id = session or thread or _text(body.get("prompt_cache_key"))
    if session_id is None:
        return None
    name = _text(turn.get("agent_name"))
    if thread in (None, session_id):
        return ClientSession(session_id, "codex", agent=name if name != "/root" else None)
    above = _header(headers, b"x-codex-parent-thread-id") or _text(turn.get("parent_thread_id"))
    return ClientSession(
        session_id,
        "codex",
        None,
        name if name not in (None, "/root") else thread,
        above if above != session_id else None,
    )


def _opencode(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _header(headers, b"x-session-id")
    if session is None:
        return None
    source = client if client in _OWN_SESSION_HEADER else "header"
    # 7.7.7 asks for a title under a name made of the session's.
    if client == "kilo" and session.startswith(_KILO_TITLE):
        return ClientSession(session.removeprefix(_TITLE), source, agent="title")
    return ClientSession(session, source, _header(headers, b"x-parent-session-id"))


def _pi(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """`session-id`, as Codex has it; it is the `prompt_cache_key` too."""
    session = _header(headers, b"session-id") if client == "pi" else None
    return None if session is None else ClientSession(session, "pi")


def _cache_key(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """A `prompt_cache_key` that is one run's: of a client that makes one for each, or told as the run's id beside it."""
    session = _text(body.get("prompt_cache_key"))
    if session is None:
        return None
    if client in _BY_CACHE_KEY:
        return ClientSession(session, client)
    beside = (_header(headers, b"session-id"), _header(headers, b"x-client-request-id"))
    return ClientSession(session, "prompt_cache_key") if session in beside else None


def _litellm(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _header(headers, b"x-litellm-session-id") or _header(headers, b"x-litellm-trace-id")
    if session is None:
        return None
    return ClientSession(session, "litellm", agent=_header(headers, b"x-litellm-agent-id"))


def _helicone(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _header(headers, b"helicone-session-id")
    return None if session is None else ClientSession(session, "helicone")


def _langfuse(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _header(headers, b"langfuse-session-id") or _header(headers, b"langfuse_session_id")
    return None if session is None else ClientSession(session, "langfuse")


def _any_vendor(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """`x-<vendor>-session-id`, as LiteLLM's proxy reads it; never a parent's or a load balancer's."""
    for name in headers:
        if name.endswith(b"-session-id") and _VENDOR.match(name) and not any(word in name for word in _NOT_A_SESSION):
            session = _header(headers, name)
            if session is not None and len(session) >= _LEAST_VENDOR_ID:
                return ClientSession(session, "header")
    return None


def _portkey(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _header(headers, b"x-portkey-trace-id")
    return None if session is None else ClientSession(session, "portkey")


def _metadata(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """OpenAI's and Anthropic's `metadata`; Claude Code puts JSON, older ones a marked string, into its `user_id`."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return None
    user = metadata.get("user_id")
    marked = _LEGACY_USER_ID.search(user) if isinstance(user, str) and len(user) <= _MAX_JSON else None
    session = (
        _text(metadata.get("session_id"))
        or _text(_mapping(user).get("session_id"))
        or (marked[1] if marked else None)
        or _text(metadata.get("trace_id"))
    )
    return None if session is None else ClientSession(session, "metadata")


def _client_metadata(headers: Headers, body: Body, client: str) -> ClientSession | None:
    session = _text(_mapping(body.get("client_metadata")).get("session_id")) or _text(body.get("litellm_session_id"))
    return None if session is None else ClientSession(session, "metadata")


def _baggage(headers: Headers, body: Body, client: str) -> ClientSession | None:
    raw = headers.get(b"baggage")
    if not raw:
        return None
    for member in raw[:8192].decode("latin-1").split(","):
        name, _, value = member.partition(";")[0].strip().partition("=")
        if name.strip() in ("session.id", "langfuse.session.id") and (session := _text(unquote(value.strip()))):
            return ClientSession(session, "baggage")
    return None


def traceparent_of(headers: Headers) -> str | None:
    """The caller's trace and span (W3C Trace Context), where it says so in a form that can be meant."""
    header = headers.get(b"traceparent")
    if not header:
        return None
    match = _TRACE_PARENT.fullmatch(text := header.decode("latin-1").strip())
    return text if match and match[1].strip("0") and match[2].strip("0") and not text.startswith("ff") else None


def _trace(headers: Headers, body: Body, client: str) -> ClientSession | None:
    """One trace is one task, where nothing says it better."""
    match = _TRACE_PARENT.fullmatch((headers.get(b"traceparent") or b"").decode("latin-1").strip())
    return ClientSession(match[1], "traceparent") if match and match[1].strip("0") else None


Look = Callable[[Headers, Body, str], ClientSession | None]
TABLE: tuple[Look, ...] = (
    _claude_code, _codex, _opencode, _pi, _litellm, _helicone, _langfuse, _any_vendor, _portkey, _cache_key, _metadata,
    _client_metadata, _baggage, _trace,
)  # fmt: skip
