"""Asks a server or a meter for its counters: one GET of a Prometheus exposition, bounded in time and size."""

from __future__ import annotations

import math
import urllib.request
from http.client import HTTPException
from typing import NamedTuple

from proxy.capacity.server_metrics import Reading, reading
from proxy.times import now_us

_TIMEOUT_S = 2.0
_MOST_BYTES = 8 * 1024 * 1024
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer(NamedTuple):
    """What an address said; `problem` in place of a reading, in a few words."""

    reading: Reading | None
    problem: str = ""


def ask(url: str, key: str | None = None) -> Answer:
    """Never raises: a server that cannot be asked costs accuracy, and nothing else."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - most have nobody to ask

    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"} if key else {})  # noqa: S310 - the configuration takes http(s) only
    try:
        with _opener.open(request, timeout=_TIMEOUT_S) as response:
            body = response.read(_MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        return Answer(None, f"it does not answer ({getattr(error, 'code', None) or type(error).__name__})")
    if len(body) > _MOST_BYTES:
        return Answer(None, "its answer is too long")
    at = now_us()
    try:
        families = list(text_string_to_metric_families(body.decode("utf-8", "replace")))
    except (ValueError, KeyError, IndexError, TypeError):
        return Answer(None, "its answer is no Prometheus exposition")
    samples = [
        (sample.name, sample.labels, float(sample.value))
        for family in families
        for sample in family.samples
        if math.isfinite(sample.value)
    ]
    made = reading(at, samples, [family.name for family in families])
    if not made.kinds:
        return Answer(None, "it has none of the counters that are known (docs/capacity.md)")
    return Answer(made)
