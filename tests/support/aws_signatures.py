"""Who signed a request that a fake of AWS got: Signature Version 4, by AWS's description of it.

docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote, urlsplit

_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\S+?)/(\d{8})/([\w-]+)/(\w+)/aws4_request, SignedHeaders=(\S+), Signature=(\w+)"
)
_MOST_SKEW_S = 300


def wrong_signature(
    request: BaseHTTPRequestHandler, data: bytes, secrets: Mapping[str, tuple[str, str]], region: str, service: str
) -> str:
    """What is wrong with it; "" where it is right. secrets: by key id, the secret and the session token that goes with it."""
    match = _SIGNED.fullmatch(request.headers.get("authorization", ""))
    if match is None or match[1] not in secrets or match[3] != region or match[4] != service:
        return "not signed"
    secret, token = secrets[match[1]]
    names = match[5].split(";")
    if token != request.headers.get("x-amz-security-token", "") or (token and "x-amz-security-token" not in names):
        return "the security token is not the one of this key"
    if "host" not in names or "x-amz-date" not in names:
        return "host and date have to be signed"
    moment = request.headers["x-amz-date"]
    if abs(time.mktime(time.strptime(moment, "%Y%m%dT%H%M%SZ")) - time.mktime(time.gmtime())) > _MOST_SKEW_S:
        return "signature expired"
    heads = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    parts = urlsplit(request.path)
    path = parts.path or "/"
    canonical = "\n".join((
        request.command, quote(path, safe="/-_.~"), parts.query, heads, match[5], hashlib.sha256(data).hexdigest(),
    ))  # fmt: skip
    scope = f"{match[2]}/{match[3]}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for word in (match[2], match[3], service, "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    good = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(good, match[6]) else "the signature does not match"
