"""The part of the configuration that says where the two planes listen, and what they take on."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pricing.values import frozen
from proxy.config.fields import OrText, Port, PositiveInt, Seconds, Text, TimeOut
from proxy.config.rules import Section, within


@frozen
class Server(Section):
    host: str = "127.0.0.1"
    """Address that the data plane listens on."""
    port: Port = 4100
    """Port of the data plane; 0 takes a free one."""
    admin_host: str = "127.0.0.1"
    """Address that the control plane (API, page, `/metrics`) listens on."""
    admin_port: Port = 4101
    """Port of the control plane; 0 takes a free one."""
    admin_key: Text | None = field(default=None, repr=False)
    """Bearer token of the control plane. Required unless `host` and `admin_host` are both loopback addresses."""
    metrics_token: Text | None = field(default=None, repr=False)
    """Bearer token that is good for `/metrics` alone, for Prometheus."""
    viewer_key: Text | None = field(default=None, repr=False)
    """Signs in to the pages, and asks the API, to look at everything and change nothing. It needs an `admin_key` beside it."""
    max_body_mb: Annotated[float, within(gt=0, le=1024)] = 32
    """Largest request body; beyond it: 413."""
    max_inflight_mb: Annotated[float, within(gt=0)] = 512
    """Bodies of all calls in flight of one data plane together, shared among keys; beyond it: 503, or 429 for a key
    that has more than its share.
    """
    max_connections: PositiveInt = 10_000
    """Client connections of one data plane; fewer where the process may not open so many files."""
    header_timeout_s: TimeOut = 10
    """Time in which a request's head has to arrive; later: 408."""
    body_timeout_s: TimeOut = 30
    """Time that a request's body may take, beside what `min_body_kb_per_s` gives it; later: 408."""
    max_head_kb: Annotated[int, within(ge=1, le=1024, strict=True), OrText] = 64
    """Size of a request's URL and headers together, in KiB; beyond it: 431."""
    min_body_kb_per_s: Annotated[float, within(gt=0)] = 4
    """Pace in KiB per second at which a body may take longer than `body_timeout_s`; slower ones get 408."""
    write_timeout_s: TimeOut = 30
    """Time without a byte read after which a client counts as gone, as if it had hung up."""
    max_calls_per_key: PositiveInt | None = None
    """Calls in flight of one key in one data plane; more get 429. Without it, one key may hold up to four times what is
    left free, so that no key shuts out the others.
    """
    budget_status: Annotated[Literal[402, 429], OrText] = 402
    """HTTP status of a refusal by a budget in USD."""
    busy_wait_s: Seconds = 10
    """How long a call waits for reservations of other calls to end before it gets 429 `budget_busy`."""
    drain_timeout_s: Seconds = 30
    """How long a stop waits for calls in flight."""
    public_url: Annotated[str, within(pattern=r"^(https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~/-]*)?)?$")] = ""
    """Where clients reach the data plane (`https://gateway.example`), for URLs in answers that lead back to it. Default: as
    the request says by `Host` and `X-Forwarded-Proto`.
    """
    max_call_s: PositiveInt = 3600
    """Longest time that a call is expected to take. Later its reservation expires: it is charged at its ceiling, and
    corrected when it ends.
    """
    keepalive_comment_s: Seconds = 0
    """A stream whose upstream is silent for so long gets an SSE comment, so that nothing on the way closes it; 0: never."""
    realtime_idle_s: TimeOut = 900
    """A spoken session (`/v1/realtime`, Gemini's Live) in which neither side says anything for so long is closed."""
    session_quiet_s: PositiveInt = 900
    """A session's metrics are taken when it has made no call for so long."""
