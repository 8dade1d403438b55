"""Which session, agent and client a call belongs to: from headers and body, by one ordered table.

A session is a label within the key's team, never an identity: the ids that clients send are namespaced by the team, so
that nobody can spend, or see, another team's session. Where nothing is found, a call is a session of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from proxy.errors import invalid_request
from proxy.types import Attribution, Identity

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_CLIENTS = (
    (b"claude-cli", "claude-code"),
    (b"codex", "codex"),
    (b"opencode", "opencode"),
    (b"QwenCode", "qwen-code"),
    (b"Agents/Python", "openai-agents"),
    (b"AsyncOpenAI/Python", "openai-python"),
    (b"OpenAI/Python", "openai-python"),
    (b"OpenAI/JS", "openai-node"),
    (b"AsyncAnthropic/Python", "anthropic-python"),
    (b"Anthropic/Python", "anthropic-python"),
    (b"Anthropic/JS", "anthropic-node"),
    (b"google-genai-sdk", "google-genai"),
    (b"ai-sdk", "vercel-ai"),
    (b"langchain", "langchain"),
    (b"litellm", "litellm"),
    (b"curl/", "curl"),
)
# Headers that name a session, in the order in which they are believed: (header, source).
_SESSION_HEADERS = (
    (b"x-taximeter-session-id", "taximeter"),
    (b"x-claude-code-session-id", "claude-code"),
    (b"helicone-session-id", "helicone"),
    (b"x-litellm-session-id", "litellm"),
    (b"x-session-id", "header"),
)
_MAX_LABELS = 32
_MAX_LABEL_CHARS = 200


@lru_cache(maxsize=256)
def client_family(user_agent: bytes) -> str:
    """The client's kind, by a mark in its user agent: a bounded set of names, fit for a metric's label."""
    for mark, family in _CLIENTS:
        if mark in user_agent:
            return family
    return "other"


def attribute(headers: Mapping[bytes, bytes], body: Mapping[str, Any], identity: Identity, own_id: str) -> Attribution:
    """What the call is counted under. `own_id` names the session of a call in which none is found."""
    session_id, source = _session(headers, own_id)
    parent = _text(headers, b"x-taximeter-parent-session-id")
    agent = _text(headers, b"x-taximeter-agent")
    claimed_user = _text(headers, b"x-taximeter-user")
    claimed_customer = _text(headers, b"x-taximeter-customer") or _claimed_in_body(body)
    claimed = _labels(headers)
    trusted = identity.trust_labels
    untrusted = dict(claimed) if not trusted else {}
    if not trusted:
        if claimed_user:
            untrusted["user"] = claimed_user
        if claimed_customer:
            untrusted["customer"] = claimed_customer
    return Attribution(
        session_id=session_id,
        session_source=source,
        root_session_id=parent or session_id,
        parent_session_id=parent,
        agent=agent,
        user=identity.user or (claimed_user if trusted else None),
        customer=identity.customer or (claimed_customer if trusted else None),
        labels={**claimed, **identity.labels} if trusted and claimed else identity.labels,
        untrusted_labels=untrusted,
        client=client_family(headers.get(b"user-agent", b"")),
    )


def _session(headers: Mapping[bytes, bytes], own_id: str) -> tuple[str, str]:
    for name, source in _SESSION_HEADERS:
        if name in headers and (value := _text(headers, name)):
            return value, source
    return own_id, "none"


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A header's value as an id: visible ASCII, at most 200 characters; anything else is refused, not shortened."""
    raw = headers.get(name)
    if not raw:
        return None
    value = raw.decode("latin-1").strip()
    if not _SESSION_ID.match(value):
        shown = name.decode()
        raise invalid_request(f"The header {shown} must be 1 to 200 visible ASCII characters.", shown)
    return value


def _claimed_in_body(body: Mapping[str, Any]) -> str | None:
    for name in ("user", "safety_identifier"):
        value = body.get(name)
        if isinstance(value, str) and 0 < len(value) <= _MAX_LABEL_CHARS and value.isprintable():
            return value
    return None


def _labels(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    raw = headers.get(b"x-taximeter-labels")
    if not raw:
        return {}
    labels: dict[str, str] = {}
    for pair in raw.decode("latin-1").split(","):
        name, equals, value = pair.strip().partition("=")
        if not equals or not name or not pair.isprintable() or max(len(name), len(value)) > _MAX_LABEL_CHARS:
            raise invalid_request("The header x-taximeter-labels must read a=b,c=d.", "x-taximeter-labels")
        labels[name] = value
    if len(labels) > _MAX_LABELS:
        raise invalid_request(f"At most {_MAX_LABELS} labels are taken.", "x-taximeter-labels")
    return labels
