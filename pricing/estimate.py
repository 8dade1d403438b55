"""A reading for a call whose response states no usage: its text, tool arguments and reasoning, counted.

Always flagged `estimated`; `input_unknown` too where the request is not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pricing.output_texts import Kind, any_texts, final_texts, output_texts
from pricing.prompt_tokens import count_prompt
from pricing.tokens import count_all
from pricing.usage import Quantity, Reading


def estimate(
    events: Sequence[object],
    model: str,
    request: Mapping[str, Any] | None = None,
    served: str | None = None,
    *,
    by_pieces: bool = False,
    writes: bool = False,
) -> Reading | None:
    """Usage counted from `events` (a whole response is one event) and `request`; None where there is nothing to count.

    Each sequence is counted for itself. by_pieces: of a server that sends each token as it is written, and only where it
    falls behind several at once. writes: the call is one that makes a model write, so that text in any shape is its answer.
    """
    pieces = [(kind, _sequence(event), piece) for event in events for kind, piece in output_texts(event)]
    by_pieces = by_pieces and bool(pieces)
    if not pieces:
        pieces = [(kind, "", piece) for event in events for kind, piece in final_texts(event)]
    if not pieces and writes:
        pieces = [(kind, "", piece) for event in events for kind, piece in any_texts(event)]
    texts: dict[tuple[Kind, str], list[str]] = {}
    for kind, sequence, piece in pieces:
        texts.setdefault((kind, sequence), []).append(piece)
    usage: dict[str, Quantity] = {}
    for (kind, _), written in texts.items():
        tokens = count_all(["".join(written)], model)
        if by_pieces and len(written) * 2 > tokens:
            tokens = len(written)
        usage[kind] = usage.get(kind, 0) + tokens
    if not usage:
        return None
    input_tokens = count_prompt(request, model) if request else 0
    if input_tokens:
        usage = {"input": input_tokens, **usage}
    flags = ("estimated",) if input_tokens else ("estimated", "input_unknown")
    return Reading(usage=usage, source="estimated", model=served, flags=flags)


def _sequence(event: object) -> str:
    """Which of several sequences a chunk is of."""
    choices = event.get("choices") if isinstance(event, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return ""
    return str(choices[0].get("index"))
