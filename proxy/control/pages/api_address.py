"""The address at which the API says what a page shows. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from proxy.control.pages.page import PageRequest
from proxy.times import rfc3339

_ZONED = ("/api/spend", "/api/reports/")


def api_address(request: PageRequest, path: str, *, timed: bool = True, by: tuple[str, ...] = (), **own: str) -> str:
    """The path with what the address asks for: the filters, and its time, of which dates are written as moments of their zone.

    timed: the answer is of the address's time. by: the groups, where the API has any. own: its own parameters; empty ones are
    left out.
    """
    address = request.address
    pairs = [("by", ",".join(by))]
    if timed:
        now_s = request.now_us / 1e6
        pairs += [
            (name, text if at is not None and text.endswith(("m", "h", "d", "w", "s")) else rfc3339(at) or "")
            for (name, text), at in zip(
                (("since", address.since), ("until", address.until)), address.moments(now_s), strict=True
            )
        ]
    if path.startswith(_ZONED) and address.tz != "UTC":
        pairs.append(("tz", address.tz))
    pairs += own.items()
    asks = [pair for pair in pairs if pair[1]]
    asks += [(f"filter.{name}", value or "") for name, value in address.filters]
    return path + ("?" + urlencode(asks, quote_via=quote, safe=",:/") if asks else "")
