"""Who looks at the pages: a secret is exchanged for a signed cookie, and every change needs the token that belongs to it.

The admin key opens everything, the viewer's key everything without changes, a virtual key what is its own. The cookie holds no
secret and nothing is kept here: it is signed with what the server's keys make, so that another admin key shuts out all, and a
virtual key is looked up anew for each page, so that a revoked one shows nothing more. Without an admin key this machine is in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Literal, NamedTuple

from fastapi import Request
from starlette.exceptions import HTTPException

from proxy.access.keys import identity_of
from proxy.config.model import Config
from proxy.control.api.auth import Guard
from proxy.types import Identity

COOKIE = "taximeter"
LIFE_S = 12 * 3600
_MOST_CHARS = 1024

Role = Literal["admin", "viewer", "key"]


class Viewer(NamedTuple):
    """Who asks. csrf: what a form of his must carry. key: whose calls alone he sees, where he signed in with a virtual key."""

    role: Role
    csrf: str
    key: str | None = None
    signed_in: bool = True

    @property
    def may_change(self) -> bool:
        return self.role == "admin"


class Authenticator:
    """`config` gives the configuration in force; `runtime_keys` the virtual keys that were made at run time."""

    def __init__(self, config: Callable[[], Config], runtime_keys: Callable[[], list[Identity]], guard: Guard) -> None:
        self._config = config
        self._runtime_keys = runtime_keys
        self._guard = guard
        # Signs the forms of a server without an admin key, and nothing else.
        self._own = secrets.token_bytes(32)

    @property
    def is_locked(self) -> bool:
        return self._config().server.admin_key is not None

    def viewer(self, request: Request, now_s: float) -> Viewer | None:
        """Who this is, by cookie or by bearer token; None where nobody is let in. Never raises, whatever was sent."""
        try:
            self._guard.admin(request)
        except HTTPException:
            return self._by_cookie(request.cookies.get(COOKIE, ""), now_s) if self.is_locked else None
        sent = request.headers.get("authorization", "")
        is_viewer = self.is_locked and _same(sent.partition(" ")[2].strip(), self._config().server.viewer_key)
        return Viewer("viewer" if is_viewer else "admin", self._csrf(sent), signed_in=False)

    def sign_in(self, secret: str, now_s: float) -> str | None:
        """The cookie for this secret; None where it opens nothing."""
        server = self._config().server
        if not secret or len(secret) > _MOST_CHARS:
            return None
        until = str(int(now_s) + LIFE_S)
        if _same(secret, server.admin_key):
            return self._signed("admin", until, "-")
        if _same(secret, server.viewer_key):
            return self._signed("viewer", until, "-")
        key_id = hashlib.sha256(secret.encode()).hexdigest()
        return self._signed("key", until, key_id) if self._identity(key_id, now_s) else None

    def is_own_form(self, request: Request, viewer: Viewer, token: str) -> bool:
        """Whether a change was sent by one of our pages: it has the viewer's token and comes from no other origin."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        return hmac.compare_digest(token.encode(), viewer.csrf.encode())

    def _by_cookie(self, cookie: str, now_s: float) -> Viewer | None:
        role, until, key_id, nonce, _ = parts if len(parts := cookie.split(".")) == 5 else ("", "", "", "", "")
        if len(cookie) > _MOST_CHARS or not until.isascii() or not until.isdigit() or int(until[:15]) <= now_s:
            return None
        if not hmac.compare_digest(cookie.encode(), self._signed(role, until, key_id, nonce).encode()):
            return None
        csrf = self._csrf(cookie)
        match role:
            case "admin" | "viewer":
                return Viewer(role, csrf)
            case "key" if (identity := self._identity(key_id, now_s)) is not None:
                return Viewer("key", csrf, identity.key)
        return None

    def _signed(self, role: str, until: str, key_id: str, nonce: str = "") -> str:
        text = f"{role}.{until}.{key_id}.{nonce or secrets.token_hex(16)}"
        # A viewer's cookie ends with the viewer's key.
        of = self._config().server.viewer_key or "" if role == "viewer" else ""
        return f"{text}.{self._mac('cookie', text, of)}"

    def _csrf(self, cookie: str) -> str:
        return self._mac("form", cookie)

    def _mac(self, *parts: str) -> str:
        admin_key = self._config().server.admin_key
        key = self._own if admin_key is None else hashlib.sha256(f"taximeter pages {admin_key}".encode()).digest()
        return hmac.new(key, "\0".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def _identity(self, key_id: str, now_s: float) -> Identity | None:
        identities = [*map(identity_of, self._config().keys), *self._runtime_keys()]
        for identity in identities:
            if hmac.compare_digest(identity.key_id, key_id):
                return identity if identity.expires_at is None or identity.expires_at > now_s else None
        return None


def _same(given: str, secret: str | None) -> bool:
    return secret is not None and hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())
