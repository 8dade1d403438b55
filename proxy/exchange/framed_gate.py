"""A stream of AWS's messages on its way to the client: the same watch as over server-sent events (`gate.py`), for frames.

Every whole message passes as it came, the moment it is whole. Messages that cannot be read pass too, unobserved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.dialects.streams import StreamForm
from proxy.exchange.gate import Fault, Gate, Phase
from proxy.exchange.usage_watch import UsageWatch
from proxy.meters.bedrock import unwrapped
from proxy.meters.reader import Context, Reader
from proxy.wire import aws_event_stream, lenient
from proxy.wire.aws_event_stream import Framer, Message


class FramedGate(Gate):
    """Watches one stream of messages for usage. form, secrets, redact: as of a `StreamGate`.

    No message is known to be the last: its count and its reason may each come once more.
    """

    def __init__(
        self,
        reader: Reader,
        context: Context,
        *,
        form: StreamForm,
        secrets: tuple[bytes, ...] = (),
        redact: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._form, self._reader = form, reader
        self._secrets, self._redact = secrets, redact
        self._framer = Framer()
        self._stopped = False
        self.watch = UsageWatch(reader, context, form)
        self.phase = Phase.RUNNING
        self.fault = Fault.NONE

    def feed(self, data: bytes) -> bytes:
        if self.phase is Phase.UNOBSERVED:
            self.watch.other_bytes += len(data)
            return data
        passed = b"".join([self._pass(message) for message in self._framer.feed(data)])
        if self._framer.broken:
            self.phase = Phase.UNOBSERVED
            rest = self._framer.rest()
            self.watch.other_bytes += len(rest)
            passed += rest
        return passed

    def _pass(self, message: Message) -> bytes:
        self.watch.other_events += 1
        if message.failed:
            self.fault = Fault.SAID
            self.watch.read({message.event: lenient.loads(message.payload)})
            if any(secret in message.payload for secret in self._secrets):
                return aws_event_stream.encode_exception(message.event, self._redact(message.payload))
            return message.raw
        self._observe(message)
        return message.raw

    def _observe(self, message: Message) -> None:
        """The observer must not break the observed."""
        try:
            written = message.json
            if message.event == "chunk" and isinstance(event := lenient.loads(message.payload), dict):
                written = lenient.dumps(unwrapped(event))
            said = b"data: %b\n\n" % written
            self.watch.other_bytes += len(said)  # not the frames round it, of which nothing is counted
            self.watch.kept.add(said)
            if not self._reader.wants(written) and self._form.end_mark not in written:
                return
            value = lenient.loads(written)
            if isinstance(value, dict):
                self._note(value)
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            self.watch.final = False

    def _note(self, event: dict[str, Any]) -> None:
        self.watch.read(event)
        self.watch.note(event)
        self.watch.final = self.watch.final or self._form.is_final(event)
        self._stopped = self._stopped or self._form.finished((event,))
        if self._stopped and self.watch.final:
            self.phase = Phase.DONE

    def close(self, then: bytes = b"") -> bytes:
        """The upstream has ended: half of a message is not passed on, nobody could read it, nor what follows."""
        if self.phase is Phase.UNOBSERVED:
            return b""  # nobody knows where a message would begin
        if self._framer.rest():
            self.phase = Phase.TORN
        return then

    def finish(self, too_early: Callable[[], bytes]) -> bytes:
        """As `close`, where the upstream ended as it should; what `too_early` gives follows where it did so in the middle."""
        rest = self.close()
        if self.phase is Phase.UNOBSERVED or self.fault is Fault.SAID:
            return rest
        if self.phase is Phase.TORN or (self._form.must_end and not self.complete):
            self.fault = Fault.SILENT
            return rest + too_early()
        self.phase = Phase.DONE
        return rest

    @property
    def complete(self) -> bool:
        """Whether the client has the whole answer, its last event or not."""
        return self.phase is Phase.DONE or (self.phase is not Phase.TORN and self._stopped)
