"""AWS Signature Version 4, for requests whose body is held. Pure: the time is an argument.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote

from pricing.values import frozen

_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_OTHERS: Mapping[str, str] = MappingProxyType({})


@frozen
class Credentials:
    """What is signed with. expires_at: epoch seconds; None: never."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


def signed_headers(
    credentials: Credentials,
    region: str,
    service: str,
    *,
    method: str,
    host: str,
    path: str,
    body: bytes,
    now_s: float,
    others: Mapping[str, str] = _NO_OTHERS,
) -> dict[bytes, bytes]:
    """The headers that a request is sent with besides its own. path: as it is sent, without a query. others: of its own
    headers those that are signed with it, by lower-case names. O(body)."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    named = {"host": host, "x-amz-date": moment}
    if credentials.session_token:
        named["x-amz-security-token"] = credentials.session_token
    signed = dict(sorted({**named, **others}.items())) if others else named
    names = ";".join(signed)
    headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = "\n".join((method, _encoded(path), "", headers, names, hashlib.sha256(body).hexdigest()))
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = _signing_key(credentials.secret_access_key, moment[:8], region, service)
    signature = hmac.digest(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode(), "sha256").hex()
    credential = f"{credentials.access_key_id}/{scope}"
    del named["host"]
    named["authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {name.encode(): value.encode("latin-1") for name, value in named.items()}


@lru_cache(maxsize=1024)
def _encoded(path: str) -> str:
    """A path as it is signed: encoded once more than for sending, what is `%3A` there is `%253A` here (for all but S3)."""
    return quote(path, safe="/-_.~")


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Good for a day."""
    key = f"AWS4{secret}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
