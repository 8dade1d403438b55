"""The head of a request to an upstream: its own credential, and of the client's headers only those on our list."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from proxy.upstream.destinations import Destination
from proxy.upstream.pool import encode_head

FORWARDED_HEADERS = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent"})
_LENGTHS_PASSED = range(1, 1025)
_SHORT_PATH = 200
_PLAIN = b"%bx-client-request-id: %b\r\ncontent-length: %d\r\n\r\n"


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
        remembered = len(path) <= _SHORT_PATH and "?" not in path  # a query may have a credential
        begun = (_begun if remembered else _begun.__wrapped__)(method, destination.target(path), destination.fixed)
        return _PLAIN % (begun, attempt_id.encode(), body_bytes)
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


@lru_cache(maxsize=256)
def _begun(method: bytes, target: str, fixed: bytes) -> bytes:
    """A request's first line and its upstream's own headers, which nearly all have in common."""
    return b"%b %b HTTP/1.1\r\n%b" % (method, target.encode(), fixed)
