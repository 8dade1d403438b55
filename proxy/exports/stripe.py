"""Stripe's meter events: one for each kind of token of an entry, or one for its cost.

`identifier` is ours, so that Stripe counts a repeated event once within 24 hours; it answers 400 then ("An event already exists
with identifier", langfuse/langfuse#16292), which is success. Values are whole numbers; what a correction takes back is
negative, which Stripe adds up (docs.stripe.com/billing/subscriptions/usage-based/meters/configure, 2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from proxy.config.exports import Export
from proxy.exports.metered import Quantity, about, quantities
from proxy.exports.posting import Poster, check
from proxy.exports.sink import Event, Refusal, Sink
from proxy.ledger.beside.export_log import Item

_URL = "https://api.stripe.com"
_PATH = "/v1/billing/meter_events"
_EVENT = "token-billing-tokens"
_EVENT_OF_COST = "token-billing-cost"
_HEADERS = {"content-type": "application/x-www-form-urlencoded"}
_THERE = (b"event already exists with identifier", b"duplicate_meter_event")


class Stripe(Sink):
    """See `Sink`. Stripe takes one event a request, and 1,000 a second of an account."""

    rows = 100
    at_once = 1
    parallel = 8

    def __init__(self, row: Export) -> None:
        self._row = row
        self._url = (row.url or _URL).rstrip("/") + _PATH
        self._event = row.event or (_EVENT_OF_COST if row.measure == "cost" else _EVENT)
        self._poster = Poster(self._url, {"authorization": f"Bearer {row.api_key}", **row.headers}, self.parallel)

    def events(self, item: Item) -> Sequence[Event]:
        return [Event(quantity.id, item, self._form(quantity, item)) for quantity in quantities(item, self._row)]

    def _form(self, quantity: Quantity, item: Item) -> Mapping[str, str] | str:
        """What is posted, or what is wrong with it."""
        amount = int(quantity.amount)
        if amount != quantity.amount:
            return f"{quantity.amount} {quantity.unit} is not a whole number, which Stripe's meters need"
        payload = {"stripe_customer_id": quantity.payer, "value": str(amount), "token_type": quantity.unit}
        return {
            "event_name": self._event,
            "identifier": quantity.id,
            "timestamp": str(item.row["ended_at"] // 1_000_000),
            **{f"payload[{name}]": value for name, value in {**payload, **about(item)}.items()},
        }

    def send(self, events: Sequence[Event]) -> Mapping[str, str]:
        (event,) = events
        if isinstance(event.payload, str):
            return {event.id: event.payload}
        answer = self._poster.post(self._url, urlencode(event.payload).encode(), _HEADERS)
        try:
            check(answer, self._poster.host)
        except Refusal:
            if not any(words in answer.body for words in _THERE):
                raise
        return {}

    def close(self) -> None:
        self._poster.close()
