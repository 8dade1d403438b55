"""An event, sent to where the configuration says."""

from __future__ import annotations

import json
import logging
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

log = logging.getLogger("taximeter.alerts")

_TIMEOUT_S = 10.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An event goes where the configuration says, and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, body: dict[str, Any]) -> bool:
    """Whether it was taken. Never raises, and never shows the address: webhooks hold secrets."""
    handlers = [_NoRedirects(), urllib.request.HTTPSHandler(context=ssl.create_default_context())]
    request = urllib.request.Request(  # noqa: S310 - http(s) only, checked by the configuration
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "taximeter"}
    )
    host = urlsplit(url).hostname
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        log.warning("the webhook at %s answers %d; trying again", host, error.code)
    except (OSError, ValueError, HTTPException) as error:  # the last: what answers speaks something else
        log.warning("the webhook at %s cannot be reached (%s); trying again", host, type(error).__name__)
    return False
