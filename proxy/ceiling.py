"""The most that a call can use: a bound that holds for adversaries. Pure; what it costs is the price book's answer.

Input: the bytes that are forwarded (byte-level BPE never makes more tokens than bytes) and what templates add, at most
the model's context. Output: the largest cap that the client sent, else the model's own, times the sequences.
"""

from __future__ import annotations

from typing import NamedTuple

from proxy.types import Call, Route

# Chat templates put a handful of tokens round each message (OpenAI: 3 or 4), and a hidden preamble before the first:
# measured 77 to 90 tokens for GPT-5 models, 24 for SmolLM2.
_TEMPLATE_TOKENS = 128
_TOKENS_PER_ITEM = 16


class Ceiling(NamedTuple):
    """Units that the call cannot exceed; None where nothing bounds them, then `missing` says what to set."""

    usage: dict[str, int] | None
    missing: str = ""


def estimate(
    call: Call, route: Route, body_bytes: int, context_tokens: int | None, max_output_tokens: int | None
) -> Ceiling:
    """The ceiling of `call` at `route`. Limits are the operator's, else the price book's, else None (unknown)."""
    context = route.context_tokens or context_tokens
    model_output = route.max_output_tokens or max_output_tokens or context
    items = call.body.get("messages")
    tokens = body_bytes + _TEMPLATE_TOKENS + _TOKENS_PER_ITEM * (len(items) if isinstance(items, list) else 0)
    if call.media_items:
        if context is None:
            return Ceiling(None, f"set models.{route.requested}.context_tokens: the call has media of unknown size")
        tokens = context
    elif context is not None:
        tokens = min(tokens, context * call.sequences)
    if route.cap_trust == "ignored":
        if context is None:
            return Ceiling(None, f"set models.{route.requested}.context_tokens: its output caps are not trusted")
        output = context
    elif call.output_caps:
        output = max(call.output_caps)
    elif model_output is not None:
        output = model_output
    else:
        return Ceiling(None, f"send max_completion_tokens, or set models.{route.requested}.max_output_tokens")
    usage = {"input": tokens}
    if output:
        usage["output"] = output * call.sequences
    return Ceiling(usage)
