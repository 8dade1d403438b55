"""What passes a gate, as `proxy/exchange/stream.py` has it pass."""

from __future__ import annotations

from proxy.exchange.gate import Gate


def fed(gate: Gate, data: bytes) -> bytes:
    """What of a read goes to the client."""
    return data if gate.between_events and gate.watch.kept.took(data) else gate.feed(data)
