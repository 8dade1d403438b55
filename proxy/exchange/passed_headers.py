"""Which of an upstream's response headers a client gets. Everything else stays here: cookies, servers' names, hop-by-hop
fields."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

_PASSED = frozenset({
    b"content-type", b"content-encoding", b"retry-after", b"retry-after-ms", b"openai-processing-ms", b"openai-version",
    b"x-taximeter-dropped-fields",
})  # fmt: skip
_PASSED_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")


def passed_headers(
    headers: Iterable[tuple[bytes, bytes]], also: AbstractSet[bytes] = frozenset()
) -> list[tuple[bytes, bytes]]:
    """Those of an upstream's response headers that a client gets; its request id under a name of its own. also: more names."""
    passed = []
    for name, value in headers:
        if name in _PASSED or name in also or name.startswith(_PASSED_PREFIXES):
            passed.append((name, value))
        elif name in (b"x-request-id", b"request-id"):
            passed.append((b"x-upstream-request-id", value))
    return passed
