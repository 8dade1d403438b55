"""Signs an upstream's requests. Credentials that stand in the configuration or in the environment are taken as they are; all
others are asked for in a process of its own (`login.py`), and again before they expire."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from proxy.upstream.aws.sigv4 import Credentials, signed_headers

log = logging.getLogger("taximeter.data")

SERVICE = "bedrock"
_RENEW_S = 600.0  # before they expire
_LOGIN_TIMEOUT_S = 30.0
_PAUSE_S = 5.0  # after a failed login: until then its callers get the same answer
_BY_VARIABLE = "oidc/env/"
_BY_LOGIN = ("aws_profile_name", "aws_role_name", "aws_web_identity_token")


class NoCredentialsError(Exception):
    """There are none; why."""


def static_credentials(params: Mapping[str, Any], environ: Mapping[str, str]) -> Credentials | None:
    """Those that are written down; None where AWS's library has to find them."""
    if any(params.get(name) for name in _BY_LOGIN):
        return None
    if key := params.get("aws_access_key_id"):
        return Credentials(str(key), str(params.get("aws_secret_access_key", "")), params.get("aws_session_token"))
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    # As in AWS's own tools, a profile that is named wins over keys.
    if key and secret and not environ.get("AWS_PROFILE"):
        return Credentials(key, secret, environ.get("AWS_SESSION_TOKEN"))
    return None


def _with_token(params: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings with a web identity's token itself where it stands in the environment: `oidc/env/NAME`, as in LiteLLM."""
    token = params.get("aws_web_identity_token")
    if not isinstance(token, str) or not token.startswith(_BY_VARIABLE):
        return dict(params)
    return {**params, "aws_web_identity_token": environ.get(token.removeprefix(_BY_VARIABLE), "")}


class Signer:
    """One upstream's. region: where it is."""

    def __init__(self, region: str, params: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.region = region
        self._params = _with_token(params, environ)
        self._credentials = static_credentials(params, environ)
        self._renewing: asyncio.Task[None] | None = None
        self._failed_at = 0.0
        self._why = ""

    async def ready(self) -> None:
        """Have credentials that are good for now. Raises `NoCredentialsError`."""
        left_s = self._left_s()
        if left_s > _RENEW_S:
            return
        if self._renewing is None or self._renewing.done():
            if time.monotonic() - self._failed_at < _PAUSE_S and self._why:
                if left_s > 0:
                    return
                raise NoCredentialsError(self._why)
            self._renewing = asyncio.create_task(self._renew())
        if left_s <= 0:
            await asyncio.shield(self._renewing)
            if self._left_s() <= 0:
                raise NoCredentialsError(self._why)

    def _left_s(self) -> float:
        if self._credentials is None:
            return 0.0
        return float("inf") if self._credentials.expires_at is None else self._credentials.expires_at - wall_s()

    def headers(self, method: bytes, host: str, path: str, body: bytes) -> dict[bytes, bytes]:
        """What a request is signed with; `ready` was awaited before."""
        assert self._credentials is not None
        return signed_headers(
            self._credentials, self.region, SERVICE, method=method.decode(), host=host, path=path, body=body, now_s=wall_s()
        )  # fmt: skip

    async def _renew(self) -> None:
        """Never raises; what went wrong is kept for those who wait."""
        try:
            self._credentials = await _login(self._params)
            self._why = ""
        except (OSError, ValueError, KeyError, TimeoutError, NoCredentialsError) as error:
            self._failed_at = time.monotonic()
            self._why = str(error) or type(error).__name__
            log.error("AWS credentials could not be obtained: %s", self._why)


def wall_s() -> float:
    """AWS compares it with a clock of its own, and keeps none that was wrong once."""
    return time.time()


async def _login(params: Mapping[str, Any]) -> Credentials:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy.upstream.aws.login", cwd=Path(__file__).parents[3],
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_LOGIN_TIMEOUT_S):
            out, error = await process.communicate(json.dumps(params).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise NoCredentialsError(f"there were none after {_LOGIN_TIMEOUT_S:.0f} s") from None
    if process.returncode:
        words = error.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise NoCredentialsError(words[:500] or f"the login ended with {process.returncode}")
    credentials = json.loads(out)
    expires = credentials.get("Expiration")
    return Credentials(
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials.get("SessionToken"),
        datetime.fromisoformat(expires).timestamp() if expires else None,
    )
