"""Closer bounds on a call's input, each worked out only when the one before it, which takes less work, does not fit.

A byte bound refuses an agent that sends 600 KB, nearly all of it cached, under a budget that it would hardly touch. So,
in order: what the provider counted for the conversation so far; the model's own tokenizer where there is one; the
provider's own count, which is free; and, where every budget says `ceiling: calibrated`, an o200k count times the highest
ratio seen for that family times 1.2, and what the provider's prompt cache holds (`ceilings/prompt_cache.py`) at the price
of reading it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from proxy.ceilings.ceiling import overhead
from proxy.ceilings.prompt_cache import may_be_read
from proxy.exchange.asking import providers_count
from proxy.exchange.attempt import Attempt
from proxy.times import now_s
from proxy.types import Route

_COUNT_MARGIN = 64
_CALIBRATION = 1.2
_MOST_DATA_HEAD = 200  # characters before the comma of a data URL
_TOKENS_PER_TEXT = 4  # where two texts meet, a template puts something, and tokens may break otherwise


async def tightened(
    attempt: Attempt,
) -> AsyncIterator[None]:
    """The attempt's ceiling, closer with each step."""
    if not attempt.bound.countable or _may_count_otherwise(attempt.route):
        return
    async for tokens in _counts(attempt):
        attempt.bound_input(tokens)
        yield
    if cache_is_trusted(attempt) and (prefixes := attempt.prefixes) is not None:
        known = attempt.exchange.plane.prefixes
        attempt.read_from_cache(known.cached(prefixes, attempt.call, attempt.route.upstream, now_s()))
        yield


def _may_count_otherwise(route: Route) -> bool:
    """Whether a model may answer in whose tokens nothing counts beforehand."""
    if not route.answers:
        return False
    from pricing import tokens  # noqa: PLC0415 - for those that need it

    return len({tokens.family(model) for model in route.models}) > 1


def cache_is_trusted(attempt: Attempt) -> bool:
    """Whether a ceiling may count on the provider's prompt cache; if it holds anything of this call is another question."""
    route = attempt.route
    return (
        may_be_read(attempt.call, attempt.plan.known_provider)
        and attempt.exchange.plane.learned.trusts_cache(route.upstream, route.model)
        and _calibrated_will_do(attempt)
    )


def _calibrated_will_do(attempt: Attempt) -> bool:
    return all(budget.calibrated for budget in attempt.budgets if budget.hard)


async def _counts(
    attempt: Attempt,
) -> AsyncIterator[int]:
    """Tokens that the request itself cannot exceed, from closer and dearer ways of counting them."""
    prefixes = attempt.prefixes
    if prefixes is not None:
        bounds = attempt.exchange.plane.prefixes
        known = bounds.bound(prefixes, attempt.call, attempt.plan.known_provider, attempt.bound.each)
        if known is not None:
            yield known + overhead(attempt.call)
    measured = len(attempt.bound.each) == attempt.call.media_items and attempt.call.form is None
    if measured:
        exact = await asyncio.to_thread(_own_tokenizer, attempt)
        if exact is not None:
            yield exact
    counted = await _providers_count(attempt)
    if counted is not None:
        yield counted
    if measured and _calibrated_will_do(attempt):
        calibrated = await asyncio.to_thread(_calibrated, attempt)
        if calibrated is not None:
            yield calibrated


def _own_tokenizer(attempt: Attempt) -> int | None:
    from pricing import tokens  # noqa: PLC0415 - tiktoken and its ranks, for the call that needs them

    family = tokens.family(attempt.route.model)
    if not family.exact or family.encoding is None or tokens.load(family.encoding) is None:
        return None
    texts = _texts(attempt)
    counted = tokens.count_all(texts, attempt.route.model) + _TOKENS_PER_TEXT * len(texts)
    return counted + overhead(attempt.call) + attempt.bound.media_tokens


def _calibrated(attempt: Attempt) -> int | None:
    from pricing import tokens  # noqa: PLC0415 - as above

    texts = _texts(attempt)
    o200k = tokens.count_o200k(texts)
    if o200k is None:
        return None
    family = tokens.family(attempt.route.model)
    tokens_by_o200k = o200k + _TOKENS_PER_TEXT * len(texts) + overhead(attempt.call)
    if not attempt.call.media_items:  # of media, a bill says nothing of how a family counts text
        attempt.counted_by = family.name, tokens_by_o200k
    ratio = attempt.exchange.plane.learned.ratio(family.name, family.factor)
    return math.ceil(tokens_by_o200k * ratio * _CALIBRATION) + attempt.bound.media_tokens


def _texts(attempt: Attempt) -> list[str]:
    """Every text in the request but the media that are measured."""
    inline = [medium.data for medium in attempt.call.media if medium.data]
    if not inline:
        return list(texts_of(attempt.call.body))
    shortest = min(map(len, inline))
    by_length: dict[int, list[str]] = {}
    for data in inline:
        by_length.setdefault(len(data), []).append(data)
    return [text for text in texts_of(attempt.call.body) if len(text) < shortest or not _is_medium(text, by_length)]


def _is_medium(text: str, by_length: Mapping[int, list[str]]) -> bool:
    """Whether a text is one of the media, alone or as a data URL."""
    data = text[text.find(",", 0, _MOST_DATA_HEAD) + 1 :] if text.startswith("data:") else text
    return data in by_length.get(len(data), ())


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a request, names of fields among them: a model may read any of it."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, int | float):
            yield str(part)


async def _providers_count(
    attempt: Attempt,
) -> int | None:
    """What the provider says that the input comes to, with the margin that it asks for; None where it does not say."""
    tokens = await providers_count(attempt)
    # "The token count should be considered an estimate": the actual number may differ by a small amount.
    return tokens + tokens // 50 + _COUNT_MARGIN if tokens is not None else None
