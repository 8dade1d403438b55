"""Anthropic Messages. Input, cache reads and cache writes are disjoint; `cache_creation_input_tokens` = 5m + 1h.

`usage.iterations` is the trap: `compaction` and `advisor_message` entries are not in the top-level numbers, and entries
may be billed at another model's price (advisor, fallback). Such entries become parts of their own.
Shapes: anthropic SDK 2.12 `types/beta/beta_usage.py`, `beta_*_iteration_usage.py`, `beta_message_delta_usage.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pricing.usage import Part, Quantity
from proxy.meters.charges import read_charge
from proxy.meters.host_table import charge_of
from proxy.meters.openai_usage import read_usage
from proxy.meters.places import states_counts, usage_nearby
from proxy.meters.reader import Context, Reader, first_mapping, merge_counts, note_tier
from proxy.meters.reading_builder import ReadingBuilder, items, mapping, number, text

MARKS = re.compile(rb'"(?:usage|error)"\s*:\s*\{|"message_stop"|"type"\s*:\s*"server_tool_use"')

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_OWN_TURNS = {"message", "fallback_message"}
_SEARCHES = "searches that passed"  # in a stream's state


def read_message(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """A message, whole or folded together from a stream."""
    builder.model = text(response.get("model"))
    usage = mapping(response.get("usage"))
    # What the usage says at the end is what is billed: only it knows which searches failed.
    searches = builder.count(tools := mapping(usage.get("server_tool_use")), "web_search_requests")
    if not tools or response.get("unfinished"):
        searches = max(searches, _searches_seen(response))
    builder.add("web_search", searches)
    if not any(usage.get(name) for name in _COUNTS) and _read_others_counts(response, context, builder):
        builder.partial = builder.partial or bool(response.get("unfinished"))
        return
    if not any(usage.get(name) is not None for name in _COUNTS):
        return
    builder.has_usage = True
    note_tier(builder, usage.get("service_tier"))
    if text(speed := usage.get("speed")) and speed != "standard":
        builder.condition("speed", speed)
    if text(geo := usage.get("inference_geo")) and geo not in {"global", "not_available"}:
        builder.condition("geo", geo)
    _read_turns(usage, context, builder)
    # What a router charges, which states it in its own Messages.
    read_charge(usage, charge_of(context.provider) if context.provider else "", builder)
    if response.get("unfinished"):
        builder.partial = (
            True  # the stream broke off, or ended without its counts: output is at least what message_start said
        )
    if all(usage.get(name) is None for name in _INPUTS):
        builder.flag("input_unknown")
        builder.partial = True


def _read_others_counts(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> bool:
    """Counts by another dialect's names, or in another place; whether there are any."""
    usage = mapping(response.get("usage"))
    elsewhere = usage if states_counts(usage) else usage_nearby(response)
    if elsewhere is None:
        return False
    read_usage(elsewhere, context, builder)
    return True


def _searches_seen(response: Mapping[str, Any]) -> int:
    """Searches among the blocks of a message; of a stream, those that `fold_event` has kept."""
    blocks = [mapping(block) for block in items(response.get("content"))]
    return len(mapping(response.get(_SEARCHES))) + sum(map(_is_search, blocks))


def _is_search(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "server_tool_use" and block.get("name") == "web_search"


def _read_turns(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """The top-level counts, and what `iterations` says is not in them or belongs to another model."""
    entries = [entry for entry in items(usage.get("iterations")) if isinstance(entry, dict)]
    turns = [entry for entry in entries if text(entry.get("type")) in _OWN_TURNS]
    served = next((name for entry in reversed(turns) if (name := text(entry.get("model")))), None)
    own = [entry for entry in turns if text(entry.get("model")) in {None, served}]
    if len(own) < len(turns) and _top_level_is(usage, turns, builder):
        # The share of the others is in the usage at the top level: it is left out here.
        read_counts(_sum(own, builder), context, builder.usage, builder)
    else:
        read_counts(usage, context, builder.usage, builder)
    for entry in entries:
        if entry not in own:
            part: dict[str, Quantity] = {}
            read_counts(entry, context, part, builder)
            builder.parts.append(Part(text(entry.get("model")) or builder.model or context.model, part))


def _top_level_is(usage: Mapping[str, Any], entries: list[dict[str, Any]], builder: ReadingBuilder) -> bool:
    whole = _sum(entries, builder)
    return all(builder.count(usage, name) == whole[name] for name in _COUNTS)


def _sum(entries: list[dict[str, Any]], builder: ReadingBuilder) -> dict[str, Any]:
    whole: dict[str, Any] = {name: sum(builder.count(entry, name) for entry in entries) for name in _COUNTS}
    splits = [mapping(entry.get("cache_creation")) for entry in entries]
    ttls = {name for split in splits for name in split}
    whole["cache_creation"] = {name: sum(builder.count(split, name) for split in splits) for name in ttls}
    return whole


def read_counts(usage: Mapping[str, Any], context: Context, into: dict[str, Quantity], builder: ReadingBuilder) -> None:
    """One set of Anthropic counts, as disjoint units, added to `into`."""
    output = builder.count(usage, "output_tokens")
    thinking = builder.count(mapping(usage.get("output_tokens_details")), "thinking_tokens")
    if thinking > output:
        builder.inconsistent()
        thinking = output
    counts = {
        "input": builder.count(usage, "input_tokens"),
        "cache_read": builder.count(usage, "cache_read_input_tokens"),
        "output": output - thinking,
        "reasoning": thinking,
        **_cache_writes(usage, context, builder),
    }
    for unit, quantity in counts.items():
        if quantity:
            into[unit] = into.get(unit, 0) + quantity


def _cache_writes(usage: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> dict[str, Quantity]:
    """Writes by time to live. The split is only in the first event of a stream; the total may grow after it."""
    split = first_mapping(usage, "cache_creation")
    short, long = builder.count(split, "ephemeral_5m_input_tokens"), builder.count(split, "ephemeral_1h_input_tokens")
    total = builder.count(usage, "cache_creation_input_tokens") or short + long
    if short + long > total:  # cut from the cheaper: some state the total under the short name
        builder.inconsistent()
        long = min(long, total)
        short = total - long
    unknown = total - short - long
    if unknown and (long if short + long else asks_for_one_hour(context.request)) and not short:
        return {"cache_write_1h": long + unknown}
    return {"cache_write_5m": short + unknown, "cache_write_1h": long}


def asks_for_one_hour(request: Mapping[str, Any]) -> bool:
    """Whether any cache breakpoint in a request has a TTL of one hour: where the response does not split them, all count so."""
    blocks: list[Any] = [request, *items(request.get("tools")), *items(request.get("system"))]
    for message in items(request.get("messages")):
        blocks += items(mapping(message).get("content"))
    controls = [mapping(mapping(block).get("cache_control")) for block in blocks]
    ttls = {str(control.get("ttl", "5m")) for control in controls if control}
    return "1h" in ttls


def fold_event(state: dict[str, Any], event: Mapping[str, Any]) -> None:
    """`message_start` carries model, tier, geo and the TTL split; `message_delta` the final, cumulative counts.

    The last counts are the call's, also where they are smaller: vLLM and others say the whole prompt first, and at the end
    what of it was not read from a cache (vLLM 0.32; maximhq/bifrost#5354); Ollama begins with a guess.
    """
    message = mapping(event.get("message"))
    if model := text(message.get("model")):
        state["model"] = model
    kind = text(event.get("type"))
    if kind == "content_block_start":
        if _is_search(block := mapping(event.get("content_block"))):
            seen = state.setdefault(_SEARCHES, {})
            seen[text(block.get("id")) or len(seen)] = True
        return
    if kind == "message_start":
        if state.get("ending"):
            return  # the beginning once more: what it says is older than what is known
        state["unfinished"] = True
    elif kind == "message_stop":
        state["unfinished"] = not state.get("ending") and not isinstance(event.get("usage"), dict)
    for source in (message, mapping(event.get("delta")), event):
        if isinstance(usage := source.get("usage"), dict):
            if kind == "message_delta":
                state["unfinished"] = False
                if "output_tokens" in usage and not state.get("ending"):
                    state["ending"] = True
                    state.get("usage", {}).pop("output_tokens", None)  # of message_start: a placeholder
            old = mapping(state.get("usage"))
            state["usage"] = merge_counts(_without_replaced(old, usage) if kind == "message_delta" else old, usage)


_INPUTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _without_replaced(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """Earlier counts without those of the input that later ones replace: all that they state, if they state any input."""
    stated = {name: count for name in _INPUTS if (count := number(new.get(name))) is not None and count >= 0}
    if not any(stated.values()):
        return old  # zeros, where a gateway counts the output alone
    return {name: value for name, value in old.items() if name not in stated}


def read_nothing(response: Mapping[str, Any], context: Context, builder: ReadingBuilder) -> None:
    """`count_tokens` is free of charge."""
    builder.has_usage = True


messages = Reader("anthropic.messages", read_message, fold_event, marks=MARKS, also=b'"server_tool_use"')
count_tokens = Reader("anthropic.count_tokens", read_nothing)
