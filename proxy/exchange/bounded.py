"""A stream of an upstream that ignores output caps: it is cut where it passes what was reserved for it."""

from __future__ import annotations

from proxy.exchange.attempt import Attempt
from proxy.exchange.stream import Streamed
from proxy.upstream.inflated import Inflated
from proxy.upstream.response import Response, UpstreamError

# Of a stream there is one event a token, or one for several; some beside say that it begins, lives and ends.
_EVENTS_BESIDE, _EVENTS_A_TOKEN = 64, 1.1
# The most that a token takes of a stream: with twenty others that it might have been, and the bytes of each.
_BYTES_A_TOKEN = 4096


class Bounded(Streamed):
    """`cap_trust: ignored`: what was reserved is the most that fits the model's context, so a longer answer has no end, or the
    context is set wrong."""

    def __init__(self, attempt: Attempt, response: Response, body: Response | Inflated) -> None:
        super().__init__(attempt, response, body)
        tokens = (attempt.bound.output_tokens + attempt.bound.aside) * attempt.bound.sequences
        self._most_events = tokens * _EVENTS_A_TOKEN + _EVENTS_BESIDE
        self._most_bytes = (tokens + _EVENTS_BESIDE) * _BYTES_A_TOKEN

    def _passed_now(self, data: bytes, framed: bytes = b"") -> bool:
        watch = self._gate.watch
        if watch.events > self._most_events or watch.bytes_seen > self._most_bytes:
            self.response.abort()
            raise UpstreamError("protocol", "the upstream's answer is longer than what was reserved for it", sent=True)
        return super()._passed_now(data, framed)


def stream_of(attempt: Attempt, response: Response, body: Response | Inflated) -> Streamed:
    """How this attempt's stream passes: cut by nothing where nothing was reserved."""
    is_bound = attempt.route.cap_trust == "ignored" and attempt.budgets and attempt.bound.input_tokens is not None
    return (Bounded if is_bound else Streamed)(attempt, response, body)
