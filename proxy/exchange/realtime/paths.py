"""Where spoken sessions are opened. Apart from what serves them, which is imported with the first one."""

from __future__ import annotations

_PREFIXES = ("/v1/realtime", "/realtime", "/openai/v1/realtime", "/openai/realtime")
REALTIME_PATHS = frozenset(_PREFIXES)
UNMETERED_PREFIXES = (*(f"{prefix}/" for prefix in _PREFIXES), "/v1alpha/auth_tokens", "/v1beta/auth_tokens")
"""Ephemeral secrets, calls by WebRTC and SIP: a client that has them needs us no more."""

LIVE_PATHS = {
    slash + path: path
    for path in (
        f"/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"
        for version in ("v1", "v1beta", "v1alpha")
    )
    for slash in ("", "/")  # google-genai writes two, behind a base URL that ends with one
}
"""Gemini's Live API -> the path that its upstream knows."""
