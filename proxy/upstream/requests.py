"""The head of a request to an upstream: its own credential, and of the client's headers only those on our list."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.upstream.destinations import Destination
from proxy.upstream.pool import encode_head

FORWARDED_HEADERS = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent"})


def request_head(
    destination: Destination,
    method: bytes,
    path: str,
    body_bytes: int | None,
    *,
    family_headers: Mapping[bytes, bytes],
    client_headers: Mapping[bytes, bytes],
    attempt_id: str,
    content_type: bytes | None = None,
) -> bytes:
    """family_headers: sent unless the client sends its own. content_type: where the body is no JSON. body_bytes None:
    it comes in chunks."""
    passed = {**family_headers, b"x-client-request-id": attempt_id.encode()}
    if not FORWARDED_HEADERS.isdisjoint(client_headers):
        passed |= {name: client_headers[name] for name in sorted(FORWARDED_HEADERS) if name in client_headers}
    fixed = destination.fixed
    if content_type is not None:
        fixed = fixed.replace(b"content-type: application/json", b"content-type: " + content_type, 1)
    return encode_head(method, destination.origin.target(path).encode(), fixed, passed, body_bytes)
