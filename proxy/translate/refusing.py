"""Errors of translated calls: the provider's own words and status, in the caller's dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.errors import UPSTREAM_ERROR, Refusal, Refused
from proxy.translate import ends
from proxy.translate.hook import Tap
from proxy.translate.native import Observed

_MOST = 2000
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_PASSED = frozenset({"retry-after", "retry-after-ms"})
_PASSED_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
CUT = Refusal(502, UPSTREAM_ERROR, "The provider's stream ended before its last event.", "server_error")
_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id")


def refusal_of(error: BaseException, tap: Tap) -> Refusal:
    """The reason, from the most exact that is known of it: our own, the provider's answer, LiteLLM's exception."""
    if isinstance(error, Refused):
        return error.refusal
    if tap.refusal is not None:
        return tap.refusal
    observed = tap.observed
    if observed is not None and observed.status >= 400:
        message = _message(observed.body) or f"The provider answered with status {observed.status}."
        return Refusal(observed.status, UPSTREAM_ERROR, message[:_MOST], _kind(observed.status))
    if observed is not None and ends.failed(observed.reason):
        return failure(observed.reason)
    if tap.cut:
        return CUT
    if observed is not None and observed.status:
        return Refusal(502, UPSTREAM_ERROR, "The provider's answer could not be translated.", "server_error")
    status = getattr(error, "status_code", None)
    if observed is None and type(status) is int and 400 <= status < 500 and status != 408:
        # LiteLLM says no by itself; its words name fields and models, never credentials.
        return Refusal(status, "invalid_request_error", _own_words(error)[:_MOST], _kind(status))
    return Refusal(502, UPSTREAM_ERROR, f"The provider could not be reached ({type(error).__name__}).", "server_error")


def failure(reason: str) -> Refusal:
    """The provider has ended its answer, and says with that word that it is none."""
    return Refusal(502, UPSTREAM_ERROR, f"The provider ended its answer with {reason!r}.", "server_error")


def _kind(status: int) -> str:
    return _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")


def _own_words(error: BaseException) -> str:
    text = str(getattr(error, "message", "") or error)
    return (
        text.rpartition("Exception - ")[2].removeprefix("litellm.").split("\nTraceback")[0].strip()
        or type(error).__name__
    )


def _message(body: bytes) -> str:
    """What a provider's error says, in any of the forms that it may have."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    if isinstance(value, list) and value:
        value = value[0]
    for path in (
        ("error", "message"),
        ("message",),
        ("Message",),
        ("detail",),
        ("error",),
        ("error_message",),
        ("errors",),
    ):
        part = value
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, list) and part:
            part = part[0].get("message") if isinstance(part[0], dict) else part[0]
        if isinstance(part, str) and part:
            return part
    return ""


def headers_of(observed: Observed | None) -> list[tuple[bytes, bytes]]:
    """Those of the provider's headers that mean the same to a caller of any dialect, and its request id."""
    if observed is None:
        return []
    headers: Mapping[str, str] = observed.headers
    passed = [(name, value) for name, value in headers.items() if name in _PASSED or name.startswith(_PASSED_PREFIXES)]
    identity = next((headers[name] for name in _IDS if name in headers), None)
    if identity:
        passed.append(("x-request-id", identity))
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in passed]
