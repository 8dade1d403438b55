"""The head of a request to an upstream: its own credential, and of the client's headers only those on our list."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.upstream.destinations import Destination
from proxy.upstream.pool import encode_head

FORWARDED_HEADERS = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent"})
_LENGTHS_PASSED = range(1, 1025)


def request_head(
    destination: Destination,
    method: bytes,
    path: str,
    body_bytes: int | None,
    *,
    family_headers: Mapping[bytes, bytes],
    client_headers: Mapping[bytes, bytes],
    attempt_id: str,
    passed_too: frozenset[bytes] = frozenset(),
    content_type: bytes | None = None,
) -> bytes:
    """family_headers: sent unless the client sends its own. passed_too: of the client's headers, more that are passed on,
    where their values are short. content_type: where the body is no JSON. body_bytes None:
    it comes in chunks."""
    forwards = not FORWARDED_HEADERS.isdisjoint(client_headers)
    if not (forwards or family_headers or passed_too or content_type) and body_bytes is not None:
        own = f"x-client-request-id: {attempt_id}\r\ncontent-length: {body_bytes}\r\n\r\n"
        return destination.begun(method, path) + own.encode()  # in a third of the time that formatting bytes takes
    passed = {**family_headers, b"x-client-request-id": attempt_id.encode()}
    if forwards:
        passed |= {name: client_headers[name] for name in sorted(FORWARDED_HEADERS) if name in client_headers}
    for name in passed_too:
        if len(value := client_headers.get(name, b"")) in _LENGTHS_PASSED:
            passed[name] = value
    fixed = destination.fixed
    if b"accept" in passed:  # in place of ours
        fixed = fixed.replace(b"accept: */*\r\n", b"", 1)
    if content_type is not None:
        fixed = fixed.replace(b"content-type: application/json", b"content-type: " + content_type, 1)
    return encode_head(method, destination.target(path).encode(), fixed, passed, body_bytes)
