"""Step nine: the upstream's response to the client, its usage read on the way, and the attempt settled with it."""

from __future__ import annotations

from proxy.exchange.attempt import Attempt
from proxy.exchange.bounded import stream_of
from proxy.exchange.jobs.begun import Begun
from proxy.exchange.retry import Failure
from proxy.exchange.stream import Streamed
from proxy.exchange.unary import Unary
from proxy.jobs.api import JobEndpoint
from proxy.upstream.inflated import plain
from proxy.upstream.response import Response, UpstreamError
from proxy.wire import lenient
from proxy.wire.aws_event_stream import CONTENT_TYPE as FRAMES


async def answer(attempt: Attempt, response: Response, *, hold: bool = False) -> Failure | None:
    """Relay `response` and settle. Raises `Refused` where the client got nothing yet and has to be told.

    hold: an error that another attempt may mend does not go to the client; it is settled and returned.
    """
    body = plain(response)
    begins = isinstance(attempt.exchange.endpoint, JobEndpoint)
    unary = Begun(attempt, response, body) if begins else Unary(attempt, response, body)
    if hold:
        unary.hold_errors()
    way: Unary | Streamed = unary
    try:
        streams = attempt.call.stream and response.status == 200
        kind_of = response.header(b"content-type") or b""
        if streams and attempt.exchange.endpoint.form.framed and kind_of.startswith(FRAMES):
            way = stream = stream_of(attempt, response, body)
            await stream.relay(await body.read())
            return None
        called_stream = kind_of.startswith(b"text/event-stream")
        if streams and called_stream and attempt.exchange.configured.config.server.keepalive_comment_s:
            way = stream = stream_of(attempt, response, body)
            await stream.relay(None)
            return None
        first = body.read_now()
        if first is None:
            first = await body.read()
        if streams and called_stream and not first:
            raise UpstreamError("protocol", "the upstream's stream was empty", sent=True)
        # A stream is known by its type, or, where a server calls it something else, by its look.
        if streams and not lenient.looks_like_json(first) and (called_stream or lenient.looks_like_events(first)):
            way = stream = stream_of(attempt, response, body)
            await stream.relay(first)
            return None
        return await unary.relay(first)
    except UpstreamError as error:
        await way.broken_off(error)
        return None
    except BaseException:
        response.abort()
        await way.settle_unknown("cut")
        raise
    finally:
        attempt.exchange.client.when_gone(None)
