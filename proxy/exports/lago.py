"""Lago's usage events, up to 100 a request: one for each kind of token of an entry, or one for its cost.

A batch with one bad event is refused whole, with what is wrong by index (lago-api, Events::CreateBatchService); one that is
there already is the same answer, and success. Codes are those of Lago's own agent SDK (lago-agent-sdk 0.3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from pricing.units import TOKENS
from proxy.config.exports import Export
from proxy.exports.metered import COST, Quantity, about, quantities
from proxy.exports.posting import Answer, Poster, check, printable
from proxy.exports.sink import Event, Refusal, Sink
from proxy.ledger.beside.export_log import Item
from proxy.money import usd_text

_URL = "https://api.getlago.com"
_PATH = "/api/v1/events/batch"
_HEADERS = {"content-type": "application/json"}
_THERE = "value_already_exist"
_CODES = {
    COST: "llm_cost", "cache_read": "llm_cached_input_tokens", "audio_in": "llm_audio_input_tokens",
    "audio_out": "llm_audio_output_tokens", "image_in": "llm_image_input_tokens",
}  # fmt: skip


class Lago(Sink):
    """See `Sink`."""

    rows = 50
    at_once = 100

    def __init__(self, row: Export) -> None:
        self._row = row
        self._url = (row.url or _URL).rstrip("/") + _PATH
        self._poster = Poster(self._url, {"authorization": f"Bearer {row.api_key}", **row.headers})

    def events(self, item: Item) -> Sequence[Event]:
        return [Event(quantity.id, item, self._event(quantity, item)) for quantity in quantities(item, self._row)]

    def _event(self, quantity: Quantity, item: Item) -> dict[str, Any]:
        cost = quantity.unit == COST
        value = usd_text(int(quantity.amount)) if cost else str(quantity.amount)
        return {
            "transaction_id": quantity.id,
            "external_subscription_id": quantity.payer,
            "code": self._row.event or _code(quantity.unit),
            "timestamp": item.row["ended_at"] // 1_000_000,
            **({"precise_total_amount_cents": _cents(int(quantity.amount))} if cost else {}),
            "properties": {"value": value, "token_type": quantity.unit, **about(item)},
        }

    def send(self, events: Sequence[Event]) -> Mapping[str, str]:
        answer = self._poster.post(self._url, orjson.dumps({"events": [event.payload for event in events]}), _HEADERS)
        try:
            check(answer, self._poster.host)
        except Refusal:
            wrong = _by_index(answer, len(events))
            if not wrong:
                raise
            rest = [event for index, event in enumerate(events) if index not in wrong]
            refused = {} if not rest else dict(self.send(rest))  # of a batch that is refused Lago took none
            return refused | {
                events[index].id: f"{self._poster.host} says {printable(orjson.dumps(faults))}"
                for index, faults in wrong.items()
                if _THERE not in orjson.dumps(faults).decode()
            }
        return {}

    def close(self) -> None:
        self._poster.close()


def _by_index(answer: Answer, count: int) -> dict[int, Any]:
    """What is wrong with which event; none where the answer does not say so."""
    try:
        details = orjson.loads(answer.body)["error_details"]
        return {index: details[str(index)] for index in range(count) if str(index) in details}
    except (ValueError, KeyError, TypeError):
        return {}


def _code(unit: str) -> str:
    return _CODES.get(unit) or (f"llm_{unit}_tokens" if unit in TOKENS else f"llm_{unit}")


def _cents(nanousd: int) -> str:
    """Exact: 1234567 nano-USD is 0.1234567 cents."""
    return format(Decimal(nanousd).scaleb(-7).normalize(), "f")
