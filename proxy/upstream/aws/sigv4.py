"""AWS Signature Version 4, for requests whose body is held. Pure: the time is an argument.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is signed with. expires_at: epoch seconds; None: never."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


def signed_headers(
    credentials: Credentials, region: str, service: str, *, method: str, host: str, path: str, body: bytes, now_s: float
) -> dict[bytes, bytes]:
    """The headers that a request is sent with besides its own. path: as it is sent, without a query. O(body)."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    named = {"host": host, "x-amz-date": moment}
    if credentials.session_token:
        named["x-amz-security-token"] = credentials.session_token
    names = ";".join(named)
    headers = "".join(f"{name}:{value}\n" for name, value in named.items())
    # A path is encoded once more than it was for sending: what is `%3A` there is `%253A` here (for all but S3).
    canonical = "\n".join(
        (method, quote(path, safe="/-_.~"), "", headers, names, hashlib.sha256(body).hexdigest()),
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = _signing_key(credentials.secret_access_key, moment[:8], region, service)
    signature = hmac.digest(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode(), "sha256").hex()
    credential = f"{credentials.access_key_id}/{scope}"
    del named["host"]
    named["authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {name.encode(): value.encode("latin-1") for name, value in named.items()}


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Good for a day."""
    key = f"AWS4{secret}".encode()
    for word in (day, region, service, "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
