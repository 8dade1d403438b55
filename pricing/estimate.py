"""A reading for a call whose response states no usage: its text, tool arguments and reasoning, counted.

Always flagged `estimated`; `input_unknown` too where the request is not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pricing.output_texts import Kind, final_texts, output_texts
from pricing.prompt_tokens import count_prompt
from pricing.tokens import count_all
from pricing.usage import Quantity, Reading


def estimate(
    events: Sequence[object], model: str, request: Mapping[str, Any] | None = None, served: str | None = None
) -> Reading | None:
    """Usage counted from `events` (a whole response is one event) and `request`; None where there is nothing to count."""
    pairs = [pair for event in events for pair in output_texts(event)]
    texts: dict[Kind, list[str]] = {"output": [], "reasoning": []}
    for kind, piece in pairs or (pair for event in events for pair in final_texts(event)):
        texts[kind].append(piece)
    usage: dict[str, Quantity] = {kind: count_all(["".join(pieces)], model) for kind, pieces in texts.items() if pieces}
    if not usage:
        return None
    given = count_prompt(request, model) if request else 0
    if given:
        usage = {"input": given, **usage}
    flags = ("estimated",) if given else ("estimated", "input_unknown")
    return Reading(usage=usage, source="estimated", model=served, flags=flags)
