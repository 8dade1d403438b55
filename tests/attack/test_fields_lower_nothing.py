"""No field of a request lowers the bill: over every fixture, its request with one field more."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from proxy.meters import Context
from tests.attack.test_prices_asked import AT_S, BOOK, FIELDS, WORDS
from tests.support.fixtures import Fixture, load

CACHED = {
    "role": "user",
    "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
}
MORE: tuple[dict[str, Any], ...] = (
    *({field: word} for field in FIELDS for word in (*WORDS, "default", "standard", "low", "us", "global", "256x256", "480p")),
    *({"web_search_options": {"search_context_size": word, "search_type": "fast"}} for word in ("low", "medium", "high")),
    {"prompt_cache_options": {"ttl": "5m"}}, {"prompt_cache_retention": "in_memory"}, {"cache_control": {"ttl": "5m"}},
    {"audio": False}, {"n": 1}, {"stream": True}, {"store": False}, {"parameters": {"resolution": "480p"}},
    {"model": "gpt-4o-mini"}, {"usage": {}}, {"cost": 0}, {"input_cost_per_token": 0}, {"output_cost_per_token": 0},
)  # fmt: skip


def _requests(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for more in MORE:
        yield more | request
    if isinstance(messages := request.get("messages"), list):
        yield request | {"messages": [*messages, CACHED]}


def _cost(fixture: Fixture, context: Context) -> Decimal | None:
    stated = fixture.line
    one = fixture.reader
    if "events" in stated:
        stream = one.stream(context)
        for event in stated["events"]:
            stream.event(event)
        reading = stream.finish()
    elif "response" in stated:
        reading = one.whole(stated["response"], context)
    else:
        reading = one.usage_only(stated.get("usage"), context)
    return BOOK.cost(reading, provider=context.provider, model=context.model, at_s=AT_S).cost_usd


@pytest.mark.parametrize(
    "fixture", [one for one in load() if one.line["dialect"] != "session"], ids=lambda one: one.name
)
def test_no_field_of_a_request_lowers_the_bill(fixture: Fixture) -> None:
    context = fixture.context._replace(from_client=True)
    before = _cost(fixture, context)
    for request in _requests(dict(context.request)):
        after = _cost(fixture, context._replace(request=request))
        assert before is None or (after is not None and after >= before), request
