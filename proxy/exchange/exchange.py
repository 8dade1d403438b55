"""One call and its answer, as every step sees it: who calls, what, by which configuration, and the way back."""

from __future__ import annotations

from pricing.values import Linked, frozen
from proxy.dialects import Endpoint
from proxy.downstream.client import Client
from proxy.exchange.configured import Configured
from proxy.exchange.plane import Plane
from proxy.sessions.chains import Beginning, Conversation
from proxy.types import Attribution, Call, Identity


@frozen
class Exchange(Linked):
    """conversation: the call's conversation, where only that can tell its session."""

    plane: Plane
    configured: Configured
    endpoint: Endpoint
    client: Client
    identity: Identity
    call: Call
    request_id: str
    attribution: Attribution
    conversation: Conversation | Beginning | None
