"""CloudEvents 1.0 in batches over HTTP, as OpenMeter (and Kong's Konnect) take them: an event an entry.

`subject` is who pays, `data` the usage (`usage.py`). Whoever has (source, id) already counts it once. What a correction takes
back is negative; OpenMeter's SUM adds it up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.config.exports import Export
from proxy.exports.posting import Poster, check
from proxy.exports.sink import Event, Sink
from proxy.exports.usage import NOBODY, payer_of, usage_of
from proxy.ledger.beside.export_log import Item

_TYPE = "taximeter.usage"
_HEADERS = {"content-type": "application/cloudevents-batch+json"}


class CloudEvents(Sink):
    """See `Sink`."""

    def __init__(self, row: Export) -> None:
        assert row.url is not None
        self._url = row.url
        self._row = row
        bearer = {"authorization": f"Bearer {row.api_key}"} if row.api_key else {}
        self._poster = Poster(row.url, {**bearer, **row.headers})

    def events(self, item: Item) -> Sequence[Event]:
        usage = usage_of(item)
        return [
            Event(
                item.id,
                item,
                {
                    "specversion": "1.0",
                    "id": item.id,
                    "source": self._row.source,
                    "type": self._row.event or _TYPE,
                    "subject": payer_of(item.row, self._row.subject) or NOBODY,
                    "time": usage["ended_at"],
                    "datacontenttype": "application/json",
                    "data": usage,
                },
            )
        ]

    def send(self, events: Sequence[Event]) -> Mapping[str, str]:
        check(
            self._poster.post(self._url, orjson.dumps([event.payload for event in events]), _HEADERS), self._poster.host
        )
        return {}

    def close(self) -> None:
        self._poster.close()
