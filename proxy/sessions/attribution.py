"""Which session, agent, user and labels a call says that it belongs to: by its headers, its body and its key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from proxy.errors import invalid_request
from proxy.sessions import known_clients as clients
from proxy.sessions.known_clients import ClientSession
from proxy.sessions.trees import Node
from proxy.types import Attribution, Identity

_SESSION_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_OWN_HEADERS = frozenset({
    b"x-taximeter-session-id", b"x-taximeter-parent-session-id", b"x-taximeter-agent", b"x-taximeter-user",
    b"x-taximeter-customer", b"x-taximeter-labels",
})  # fmt: skip
_CLAIMS_IN_BODIES = frozenset({"user", "safety_identifier"})
_MAX_LABELS = 32
_MAX_LABEL_CHARS = 200


def says_nothing(headers: Mapping[bytes, bytes]) -> bool:
    """Whether `named` and `attribute` find in these headers what they find in none."""
    return _OWN_HEADERS.isdisjoint(headers) and clients.are_silent_beside(headers)


def named(headers: Mapping[bytes, bytes], body: Mapping[str, Any], client: str, own_id: str) -> ClientSession | None:
    """The session that the call names: by our own headers, else by what its client sends; None where by nothing.

    A call that names nothing but a parent is a session of its own (`own_id`) below that one.
    """
    if not headers or _OWN_HEADERS.isdisjoint(headers):
        return clients.find(headers, body, client)
    parent = _text(headers, b"x-taximeter-parent-session-id")
    agent = _text(headers, b"x-taximeter-agent")
    own = _text(headers, b"x-taximeter-session-id")
    session = clients.find(headers, body, client)
    if own:
        session = (
            session._replace(session_id=own, source="taximeter", parent=None)
            if session
            else ClientSession(own, "taximeter")
        )
    if session is None:
        return ClientSession(own_id, "none", parent, agent) if parent else None
    if agent:
        session = session._replace(agent=agent, parent_agent=None)
    return session._replace(parent=parent) if parent else session


def attribute(
    headers: Mapping[bytes, bytes],
    body: Mapping[str, Any],
    identity: Identity,
    client: str,
    node: Node,
    source: str,
    session: ClientSession | None,
    budgeted: str,
) -> Attribution:
    """What the call is counted under; `budgeted` is the session that budgets and guards count it in."""
    claimed_user = claimed_customer = own_agent = None
    claimed: dict[str, str] = {}
    if headers and not _OWN_HEADERS.isdisjoint(headers):
        claimed_user, claimed_customer = _text(headers, b"x-taximeter-user"), _text(headers, b"x-taximeter-customer")
        claimed, own_agent = _labels(headers), _text(headers, b"x-taximeter-agent")
    claimed_customer = claimed_customer or _claimed_in_body(body)
    trusted = identity.trust_labels
    untrusted: dict[str, str] = {}
    if not trusted and (claimed or claimed_user or claimed_customer):
        untrusted |= claimed
        if claimed_user:
            untrusted["user"] = claimed_user
        if claimed_customer:
            untrusted["customer"] = claimed_customer
    return Attribution(
        session_id=node.session_id,
        session_source=source,
        root_session_id=node.root,
        budgeted_session_id=budgeted,
        parent_session_id=node.parent,
        agent=(session.agent if session else None) or own_agent,
        parent_agent=session.parent_agent if session else None,
        user=identity.user or (claimed_user if trusted else None),
        customer=identity.customer or (claimed_customer if trusted else None),
        labels={**claimed, **identity.labels} if trusted and claimed else identity.labels,
        untrusted_labels=untrusted,
        client=client,
        traceparent=clients.traceparent_of(headers) if headers else None,
    )


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """A header's value as an id: visible ASCII, at most 200 characters; anything else is refused, not shortened."""
    raw = headers.get(name)
    if not raw:
        return None
    value = raw.decode("latin-1").strip()
    if not _SESSION_ID.match(value):
        shown = name.decode()
        raise invalid_request(f"The header {shown} must be 1 to 200 visible ASCII characters.", shown)
    return value


def _claimed_in_body(body: Mapping[str, Any]) -> str | None:
    if _CLAIMS_IN_BODIES.isdisjoint(body):
        return None
    for name in ("user", "safety_identifier"):
        value = body.get(name)
        if isinstance(value, str) and 0 < len(value) <= _MAX_LABEL_CHARS and value.isprintable():
            return value
    return None


def _labels(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    raw = headers.get(b"x-taximeter-labels")
    if not raw:
        return {}
    labels: dict[str, str] = {}
    for pair in raw.decode("latin-1").split(","):
        name, equals, value = pair.strip().partition("=")
        if not equals or not name or not pair.isprintable() or max(len(name), len(value)) > _MAX_LABEL_CHARS:
            raise invalid_request("The header x-taximeter-labels must read a=b,c=d.", "x-taximeter-labels")
        labels[name] = value
    if len(labels) > _MAX_LABELS:
        raise invalid_request(f"At most {_MAX_LABELS} labels are taken.", "x-taximeter-labels")
    return labels
