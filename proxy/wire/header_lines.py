"""The header lines of a request by their names: what several lines of one name say together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.errors import bad_http

# Who it is, how long the body is, and what a price hangs on. Two that differ have no meaning that everybody on the way reads
# alike, so nobody may choose one. Not `content-type`: no dialect hangs on it, and reqwest's `.json()` beside a `.header()` of
# its own sends two (`application/json` with and without a charset).
_ONE = frozenset({
    b"api-key", b"authorization", b"anthropic-version", b"content-length", b"host", b"x-api-key", b"x-goog-api-key",
    b"xi-api-key",
})  # fmt: skip
_ONE_OF_KIND = (b"x-amzn-bedrock-", b"x-goog-upload-", b"x-taximeter-", b"sec-websocket-key", b"sec-websocket-version")
_LISTS_OF_KIND = frozenset({b"x-taximeter-labels"})


def by_name(lines: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Values by their names (lower case). Lines of one name are a list, as RFC 9110, 5.3, joins them; what is said twice in the
    same words is said once, and a line without a value says nothing. Raises `Refused` where they differ and only one may be.

    >>> by_name([(b"accept", b"text/plain"), (b"openai-beta", b"a"), (b"openai-beta", b"b"), (b"accept", b"text/plain")])
    {b'accept': b'text/plain', b'openai-beta': b'a, b'}
    """
    named = dict(lines)
    if len(named) == len(lines):
        return named
    several: dict[bytes, dict[bytes, None]] = {}
    for name, value in lines:
        several.setdefault(name, {})[value] = None
    for name, values in several.items():
        if len(values) > 1:
            values.pop(b"", None)
            only_one = name in _ONE or (name.startswith(_ONE_OF_KIND) and name not in _LISTS_OF_KIND)
            if only_one and len(values) > 1:
                raise bad_http(f"The header {name.decode('latin-1')} came twice, with different values.")
            named[name] = b", ".join(values)
    return named
