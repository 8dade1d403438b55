"""One TLS context for all of a worker's HTTP clients that ask for none of their own.

httpx makes a client for each `httpx.get`, and each client reads the system's certificates anew: 24 ms of CPU, where the call
itself takes 1 ms.
"""

from __future__ import annotations

import functools
import importlib
import os
import ssl
from typing import Any

_TRANSPORTS: Any = importlib.import_module("httpx._transports.default")
_make = _TRANSPORTS.create_ssl_context


@functools.cache
def _shared(*_where: str | None) -> ssl.SSLContext:
    made: ssl.SSLContext = _make()
    return made


def _context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is not True or cert is not None or not trust_env:
        own: ssl.SSLContext = _make(verify=verify, cert=cert, trust_env=trust_env)
        return own
    return _shared(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


def install() -> None:
    """Have httpx take the shared one."""
    _TRANSPORTS.create_ssl_context = _context
