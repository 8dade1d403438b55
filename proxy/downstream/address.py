"""Where a client reached the data plane, for URLs in answers that lead back to it. Pure.

What the client says of that goes back to nobody but itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
_SCHEMES = (b"http", b"https")


def root_of(headers: Mapping[bytes, bytes], public_url: str = "") -> str:
    """Scheme and host, without a slash at the end; "" where the request names no host.

    >>> root_of({b"host": b"gateway.example", b"x-forwarded-proto": b"https"})
    'https://gateway.example'
    """
    if public_url:
        return public_url.rstrip("/")
    host = headers.get(b"host", b"")
    if not _HOST.match(host):
        return ""
    scheme = headers.get(b"x-forwarded-proto", b"").partition(b",")[0].strip().lower()
    return f"{(scheme if scheme in _SCHEMES else b'http').decode()}://{host.decode()}"
