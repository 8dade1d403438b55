"""The most that a call can use: a bound that holds for adversaries. Pure; what it costs is the price book's answer.

Input: the bytes that are forwarded (byte-level BPE never makes more tokens than bytes) and what templates add, at most
the model's context; closer bounds, where this one does not fit the money: `tighten.py`. Output: the largest cap that the
client sent, else the model's own, times the sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pricing.units import UNITS
from proxy.types import Call, Route

# Chat templates put a handful of tokens round each message (OpenAI: 3 or 4), and a hidden preamble before the first:
# measured 77 to 90 tokens for GPT-5 models, 24 for SmolLM2.
_TEMPLATE_TOKENS = 128
_TOKENS_PER_ITEM = 16
_MEDIA_UNITS = frozenset(
    unit for unit in UNITS if unit.endswith(("audio_in", "image_in", "video_in", "_audio", "_image", "_video"))
)
CACHE_WRITES = frozenset(unit for unit in UNITS if unit.startswith("cache_write"))


# What an answer may take where neither the client nor anybody else says: it is sent along as the cap.
_DEFAULT_OUTPUT_TOKENS = 16_384


_NOTHING: Mapping[str, int] = {}


class Ceiling(NamedTuple):
    """Units that the call cannot exceed; `input_tokens` None where nothing bounds them, then `missing` says what to set.

    output_tokens: of one sequence. inject: the cap is ours, and has to be sent along to hold. beyond: the part of the input
    that the provider's own tools may bring in, so that no count of the request shows it: `a_pass` for each of their calls.
    """

    input_tokens: int | None
    output_tokens: int
    sequences: int
    inject: bool = False
    missing: str = ""
    extra: Mapping[str, int] = _NOTHING
    beyond: int = 0
    a_pass: int = 0

    @property
    def usage(self) -> dict[str, int]:
        """The bound as usage; empty where there is none."""
        return self.with_output(self.output_tokens)

    def with_input(self, tokens: int) -> Ceiling:
        """The bound with a closer one on the tokens of the request itself."""
        assert self.input_tokens is not None
        return self._replace(input_tokens=min(self.input_tokens, tokens + self.beyond))

    def with_fewer_passes(self, fewer: int) -> Ceiling:
        """The bound with so many calls less of the provider's own tools, and of what they bill for themselves."""
        assert self.input_tokens is not None
        less = fewer * self.a_pass
        extra = {unit: max(0, count - fewer) for unit, count in self.extra.items()}
        return self._replace(input_tokens=self.input_tokens - less, beyond=self.beyond - less, extra=extra)

    def with_output(self, tokens: int) -> dict[str, int]:
        """The bound with another cap on each sequence."""
        if self.input_tokens is None:
            return {}
        usage = {"input": self.input_tokens, **self.extra}
        if tokens:
            usage["output"] = tokens * self.sequences
        return usage


def estimate(
    call: Call, route: Route, body_bytes: int, context_tokens: int | None, max_output_tokens: int | None
) -> Ceiling:
    """The ceiling of `call` at `route`. Limits are the operator's, else the price book's, else None (unknown)."""
    context = route.context_tokens or context_tokens
    model_output = route.max_output_tokens or max_output_tokens or context
    if call.free:
        return Ceiling(0, 0, 1)
    if call.unbounded:
        return Ceiling(None, 0, call.sequences, missing=call.unbounded)
    tokens = body_bytes - call.opaque_bytes + overhead(call)
    beyond = a_pass = 0
    if call.media_items:
        if context is None:
            missing = (
                f"set models.{route.requested}.context_tokens: the call has media or stored context of unknown size"
            )
            return Ceiling(None, 0, call.sequences, missing=missing)
        tokens = context
    elif context is not None:
        tokens = min(tokens, context * call.sequences)
    if call.passes > 1:  # what tools on the provider's side bring in is not among our bytes
        if context is None:
            missing = f"set models.{route.requested}.context_tokens: the provider's own tools read more than was sent"
            return Ceiling(None, 0, call.sequences, missing=missing)
        a_pass, beyond = context, context * (call.passes - 1)
        tokens += beyond
    if route.cap_trust == "ignored":
        if context is None:
            missing = f"set models.{route.requested}.context_tokens: its output caps are not trusted"
            return Ceiling(None, 0, call.sequences, missing=missing)
        return Ceiling(tokens, context, call.sequences, extra=call.extra, beyond=beyond, a_pass=a_pass)
    if call.output_caps:
        return Ceiling(tokens, max(call.output_caps), call.sequences, extra=call.extra, beyond=beyond, a_pass=a_pass)
    if model_output is not None:
        return Ceiling(tokens, model_output, call.sequences, extra=call.extra, beyond=beyond, a_pass=a_pass)
    return Ceiling(
        tokens, _DEFAULT_OUTPUT_TOKENS, call.sequences, inject=True, extra=call.extra, beyond=beyond, a_pass=a_pass
    )


def overhead(call: Call) -> int:
    """Tokens that stand in no text of the request: templates, and prompts that the provider adds."""
    return _TEMPLATE_TOKENS + _TOKENS_PER_ITEM * call.prompts + call.hidden_tokens


def impossible_units(call: Call, body: bytes) -> frozenset[str]:
    """Units that this request's input cannot turn into: other modalities without media, cache writes that nobody asks for."""
    units = frozenset() if call.media_items else _MEDIA_UNITS
    if call.dialect.startswith("anthropic.") and b'"cache_control"' not in body:
        return units | CACHE_WRITES
    if call.dialect.startswith("anthropic.") and b'"1h"' not in body:
        return units | (CACHE_WRITES - {"cache_write_5m"})
    return units
