"""Who is calling: from the credential headers alone, before the body is read.

Keys are kept as SHA-256 only. A snapshot of run-time keys replaces the last one whole, or says what has changed; the config's
keys always stand.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping

from proxy.config.model import Key
from proxy.errors import invalid_key
from proxy.types import Identity

_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"xi-api-key")
_MAX_CREDENTIAL_BYTES = 1024
_SIGNED = re.compile(rb"AWS4-HMAC-SHA256 Credential=([!-~]{1,1024}?)(?:/[A-Za-z0-9-]+){3}/aws4_request,")
_SCHEMES = (b"bearer", b"key")  # fal's SDK says Key


def credential(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The virtual key as sent, from the first credential header that has one."""
    for name in _HEADERS:
        value = headers.get(name)
        if value:
            if name == b"authorization":
                scheme, _, value = value.partition(b" ")
                if scheme.lower() not in _SCHEMES:
                    continue
            value = value.strip()
            if 0 < len(value) <= _MAX_CREDENTIAL_BYTES:
                return value
    return _access_key_id(headers.get(b"authorization", b""))


def _access_key_id(authorization: bytes) -> bytes | None:
    """The key id that an AWS SDK signed with: a virtual key where it was given as one. What it signed is not looked at."""
    match = _SIGNED.match(authorization)
    return match[1] if match is not None else None


def identity_of(key: Key) -> Identity:
    return Identity(
        key_id=key.key_id,
        key=key.name,
        team=key.team,
        user=key.user,
        customer=key.customer,
        labels=key.labels,
        models=key.models,
        expires_at=key.expires.timestamp() if key.expires else None,
        trust_labels=key.trust_labels,
    )


class KeyRing:
    """Every key that is valid now, by the SHA-256 of its secret."""

    def __init__(self, configured: Iterable[Identity]) -> None:
        self._runtime: dict[str, Identity] = {}
        self.replace_configured_keys(configured)

    def replace_configured_keys(self, identities: Iterable[Identity]) -> None:
        self._configured = {identity.key_id: identity for identity in identities}
        self._by_id = self._runtime | self._configured

    def replace_runtime_keys(self, identities: Iterable[Identity]) -> None:
        self._runtime = {identity.key_id: identity for identity in identities}
        self._by_id = self._runtime | self._configured

    def change_runtime_keys(self, changed: Iterable[Identity], gone: Iterable[str]) -> None:
        """gone: by their ids. All others are the very same as before."""
        for key_id in gone:
            self._runtime.pop(key_id, None)
        self._runtime |= {identity.key_id: identity for identity in changed}
        self._by_id = self._runtime | self._configured

    def is_single(self) -> bool:
        """Whether there is one key only, so that nobody could shut out another."""
        return len(self._by_id) < 2

    def identify(self, headers: Mapping[bytes, bytes], now_s: float) -> Identity:
        """Raises `Refused` (401): the same answer for a missing, unknown, expired and revoked key."""
        secret = credential(headers)
        if secret is None:
            raise invalid_key()
        key_id = hashlib.sha256(secret).hexdigest()
        identity = self._by_id.get(key_id)
        # The look-up is by a hash that the sender cannot steer; the comparison is what decides.
        if identity is None or not hmac.compare_digest(identity.key_id, key_id):
            raise invalid_key()
        return _valid(identity, now_s)

    def known(self, key_id: str, now_s: float) -> Identity:
        """The key of this id, where a signature of ours has taken its place. Raises `Refused` (401)."""
        return _valid(self._by_id.get(key_id), now_s)

    def again(self, identity: Identity, clock: Callable[[], float]) -> Identity:
        """The same key some time later. Raises `Refused` (401) where it was revoked or has expired since."""
        current = self._by_id.get(identity.key_id)
        return current if current is not None and current.expires_at is None else _valid(current, clock())


def _valid(identity: Identity | None, now_s: float) -> Identity:
    if identity is None or (identity.expires_at is not None and identity.expires_at <= now_s):
        raise invalid_key()
    return identity
