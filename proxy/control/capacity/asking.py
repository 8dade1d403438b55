"""Asks a server or a meter for its counters: one GET of a Prometheus exposition, bounded in time and size."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import NamedTuple

from proxy.capacity.server_metrics import Reading, reading
from proxy.times import now_us

_TIMEOUT_S = 2.0  # without a byte
_WHOLE_S = 4.0  # from connecting to the last byte, however they come
_MOST_BYTES = 8 * 1024 * 1024


class _Bounded(HTTPConnection):
    """One whose socket is shut when its time is over, so that nobody waits for a server that answers byte by byte."""

    def connect(self) -> None:
        super().connect()
        watch = threading.Timer(_WHOLE_S, _shut, [self.sock])
        watch.daemon = True
        watch.start()


class _BoundedTls(_Bounded, HTTPSConnection):
    pass


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has been closed
        sock.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Bounded, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_BoundedTls, req)


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Http, _Https)


class Answer(NamedTuple):
    """What an address said; `problem` in place of a reading, in a few words."""

    reading: Reading | None
    problem: str = ""


def ask(url: str, key: str | None = None) -> Answer:
    """Never raises: a server that cannot be asked costs accuracy, and nothing else."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - most have nobody to ask

    began = time.monotonic()
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"} if key else {})  # noqa: S310 - the configuration takes http(s) only
    try:
        with _opener.open(request, timeout=_TIMEOUT_S) as response:
            body = response.read(_MOST_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        if time.monotonic() - began >= _WHOLE_S:
            return Answer(None, "it does not answer in time")
        return Answer(None, f"it does not answer ({getattr(error, 'code', None) or type(error).__name__})")
    if len(body) > _MOST_BYTES:
        return Answer(None, "its answer is too long")
    if time.monotonic() - began >= _WHOLE_S:  # and may have been shut before its end
        return Answer(None, "it does not answer in time")
    at = now_us()
    if body.lstrip()[:1] in (b"[", b"{"):
        return Answer(None, "it answers with JSON (`trtllm-serve` has its counters at /prometheus/metrics)")
    if not body.endswith((b"\n", b"\n# EOF")):  # cut off, maybe in the middle of a number
        return Answer(None, "its answer is not a Prometheus exposition")
    try:
        families = list(text_string_to_metric_families(body.decode("utf-8", "replace")))
    except (ValueError, KeyError, IndexError, TypeError):
        return Answer(None, "its answer is not a Prometheus exposition")
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
