"""One answer of the provider: what it costs (`plan`), and giving it as ordered, faults and all (`Answer`)."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from . import faults, formats
from .formats import Ask, Event
from .orders import Law, Orders
from .wire import Wire, framed, head

_BATCH_BYTES = 64 * 1024
_CANARY = "/_provider/canary"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a whole answer uses: `out` completion tokens in each choice, `reason` of them hidden."""

    input: int
    cached: int
    written: int
    out: int
    reason: int
    choices: int
    units: dict[str, int]

    @property
    def generated(self) -> int:
        return self.out * self.choices

    def units_after(self, generated: int) -> dict[str, int]:
        """What was used when only so many tokens were generated: reasoning comes first."""
        reasoning = min(generated, self.units["reasoning"])
        return self.units | {"reasoning": reasoning, "output": generated - reasoning}

    def counts(self, generated: int | None = None) -> formats.Counts:
        """The totals as providers report them."""
        output = self.generated if generated is None else generated
        reason = min(output, self.reason * self.choices)
        return {
            "input": self.input,
            "anthropic_input": self.input - self.cached - self.written,
            "cached": self.cached,
            "written": self.written,
            "output": output,
            "reason": reason,
            "visible": output - reason,
            "total": self.input + output,
        }


def plan(ask: Ask, orders: Orders, default_out: int) -> Plan:
    out = orders.out if orders.out is not None else default_out
    if ask.cap is not None and not orders.ignore_cap:
        out = min(out, ask.cap)
    out = out if ask.has_output else 0
    reason = min(orders.reason, out)
    told_input = orders.input if orders.input is not None else ask.words
    cached = min(orders.cached, told_input) if ask.has_output else 0
    written = min(orders.written, told_input - cached) if ask.dialect == "anthropic_messages" else 0
    separate = 0 if ask.dialect == "anthropic_messages" else reason  # Anthropic counts thinking as output
    units = {
        "input": told_input - cached - written,
        "cache_read": cached,
        "cache_write_5m": written,
        "output": (out - separate) * ask.choices,
        "reasoning": separate * ask.choices,
    }
    return Plan(told_input, cached, written, out, reason, ask.choices, units)


Finish = Callable[[str, str, dict[str, int]], None]  # end, told, units billed


class Answer:
    """Gives one answer. Calls `finish` once, before the bytes that end it; the caller does so when it is cancelled."""

    def __init__(
        self, *, ask: Ask, orders: Orders, plan: Plan, law: Law, wire: Wire, reply_id: str, finish: Finish
    ) -> None:
        self.ask, self.orders, self.plan, self.law, self.wire = ask, orders, plan, law, wire
        self.reply_id = "reply-1" if orders.fault("same_ids") is not None else reply_id
        self._finish: Finish | None = finish
        self._started = time.monotonic()
        self._generated = 0
        self._told = "nothing"
        self._begun = False

    async def give(self) -> None:
        if self.orders.delay:
            await asyncio.sleep(self.orders.delay)
        if await self._refuse() or await self._say_nothing():
            return
        if self.ask.stream:
            await self._stream()
        else:
            await self._unary()

    def end(self, how: str) -> None:
        """Write the bill: whole for a complete answer or where the law says so, else for what was generated.

        `cut` and `client_left` are the network's doing, and the model may have worked on; `failed` is the model's own.
        """
        finish, self._finish = self._finish, None
        if finish is None:
            return
        units = self.plan.units
        if how == "refused":
            finish(how, "refused", {})
            return
        if how == "failed" or (how != "complete" and self.law == "stop_on_disconnect"):
            if not self.ask.stream and self.orders.delay and not self._generated:
                share = min(1.0, (time.monotonic() - self._started) / self.orders.delay)
                self._generated = int(self.plan.generated * share)
            units = self.plan.units_after(min(self._generated, self.plan.generated))
        finish(how, self._told, units)

    # refusals and silence

    def _headers(self) -> list[tuple[str, str]]:
        return [("x-request-id", self.reply_id), ("openai-processing-ms", "7")]

    async def _refuse(self) -> bool:
        name = next((name for name in faults.REFUSALS if self.orders.fault(name) is not None), None)
        if name is None:
            return False
        argument = self.orders.fault(name) or ""
        self.end("refused")
        error = orjson.dumps({"error": {"message": f"ordered: {name}", "type": "server_error", "code": None}})
        status, kind, body = 200, "application/json", error
        extra: list[tuple[str, str]] = []
        if name in ("status", "bare"):
            status = int(argument or 500)
            body = error if name == "status" else b""
            extra = [("retry-after", "1")] if status == 429 else []
        elif name == "html":
            kind, body = "text/html", b"<html><body><h1>Welcome</h1></body></html>"
        elif name == "empty":
            kind, body = ("text/event-stream" if self.ask.stream else kind), b""
        elif name == "redirect":
            status, extra = 307, [("location", argument or _CANARY)]
        elif name == "no_content":
            await self.wire.raw(head(204, *self._headers()))
            return True
        elif name in ("scalar", "deep"):
            body = (argument or "null").encode() if name == "scalar" else b"[" * 100_000 + b"]" * 100_000
        await self.wire.answer(status, body, *self._headers(), *extra, kind=kind)
        return True

    async def _say_nothing(self) -> bool:
        ordered = self.orders.fault
        if ordered("drop") is not None:
            self.end("cut")
            self.wire.close()
        elif ordered("rst") is not None:
            self.end("cut")
            self.wire.reset()
        elif ordered("stall") is not None:
            await self.wire.gone()
        elif ordered("head_stall") is not None:
            await self.wire.raw(b"HTTP/1.1 200 OK\r\ncontent-type: appl")
            await self.wire.gone()
        elif ordered("storm") is not None:
            for _ in range(10**9):
                await self.wire.raw(head(102) * 10)
                await asyncio.sleep(0.001)
        elif (odd := next((n for n in faults.NOT_HTTP if ordered(n) is not None), None)) is not None:
            self.end("cut")
            await self.wire.raw(faults.NOT_HTTP[odd])
            self.wire.close()
        elif ordered("headers_endless") is not None:
            await self.wire.raw(b"HTTP/1.1 200 OK\r\n")
            for number in range(10**9):
                await self.wire.raw(b"".join(b"x-%d-%d: more and more of it\r\n" % (number, i) for i in range(100)))
                await asyncio.sleep(0.001)
        else:
            return False
        return True

    async def _head(self, kind: str, *, length: int | None, encoding: str = "") -> None:
        """The status line and headers; `length` None means chunked (or, for HTTP/1.0, until the end)."""
        ordered = self.orders.fault
        if ordered("wrong_type") is not None:
            kind = "application/json" if kind == "text/event-stream" else "text/event-stream"
        headers = [("content-type", kind), *self._headers()]
        headers += [("content-encoding", encoding)] if encoding else []
        headers += [(f"x-filler-{i}", "y" * 40) for i in range(int(ordered("headers_many") or 0))]
        old = ordered("http10") is not None
        if length is not None and not old:
            headers.append(("content-length", str(length)))
        elif not old:
            headers.append(("transfer-encoding", "chunked"))
        made = head(200, *headers)
        if old:
            made = made.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        for _ in range(int(ordered("informational") or 0)):
            await self.wire.raw(head(103, ("link", "</style.css>; rel=preload")))
        if ordered("slow_head") is not None:
            await self._drip(made, 1)
        else:
            await self.wire.raw(made)

    async def _drip(self, data: bytes, size: int, pause_s: float = 0) -> None:
        for at in range(0, len(data), size):
            await self.wire.raw(data[at : at + size])
            await asyncio.sleep(pause_s)

    # usage

    def _usage(self) -> tuple[dict[str, Any] | None, str]:
        """The usage object to send, and what sending it tells: exact, odd, lie or nothing."""
        ordered = self.orders.fault
        if not self.ask.tell or ordered("no_usage") is not None:
            return None, "nothing"
        false = next((name for name in faults.LIES if ordered(name) is not None), None)
        if false is not None:
            return faults.lie(self.ask.dialect, self.plan.counts(), false), faults.tells(false)
        return formats.usage(self.ask.dialect, self.plan.counts()), "exact"

    # unary

    async def _unary(self) -> None:
        ordered = self.orders.fault
        usage, tells = self._usage()
        wide = ordered("wide") is not None
        body = formats.whole(self.ask, self.reply_id, self.plan.out, self.plan.reason, usage, wide=wide)
        self._generated = self.plan.generated
        encoding = ""
        if ordered("gzip") is not None or ordered("gzip_cut") is not None:
            body, encoding = gzip.compress(body), "gzip"
            body = body[: len(body) // 2] if ordered("gzip_cut") is not None else body
        body = body[: len(body) // 2] if ordered("json_cut") is not None else body
        broken = next((n for n in ("cut", "cutrst", "stall_mid", "length_long") if ordered(n) is not None), None)
        if broken:
            at = min(int(ordered(broken) or len(body) // 2), len(body) - 1)
            await self._head("application/json", length=len(body), encoding=encoding)
            await self._break(broken, body[:at])
            return
        damaged = ordered("json_cut") is not None or ordered("gzip_cut") is not None
        self._told = "nothing" if damaged else tells
        self.end("cut" if damaged else "complete")
        length = len(body) - (7 if ordered("length_short") is not None else 0)
        await self._head("application/json", length=length, encoding=encoding)
        if (size := ordered("split")) is not None:
            await self._drip(body, int(size or 1))
        elif (size := ordered("drip")) is not None:
            await self._drip(body, int(size or 40), 0.03)
        else:
            await self.wire.raw(body)
        if ordered("http10") is not None or ordered("length_short") is not None:
            self.wire.close()

    async def _break(self, how: str, last: bytes) -> None:
        """Send `last`, then end or go silent as ordered."""
        await self.wire.raw(last)
        if how == "stall_mid":
            await self.wire.gone()
        await asyncio.sleep(0)
        self.end("cut")
        if how == "cutrst":
            self.wire.reset()
        else:
            self.wire.close()

    # streams

    async def _stream(self) -> None:
        ordered = self.orders.fault
        zipped = ordered("gzip") is not None or ordered("gzip_cut") is not None
        await self._head("text/event-stream", length=None, encoding="gzip" if zipped else "")
        if zipped:
            await self._stream_zipped()
            return
        events = [*self._events()]
        plain = not self.orders.faults and not self.orders.chunk_delay
        batch = bytearray()
        for number, event in enumerate(events):
            if self.wire.hung_up:
                await self.wire.gone()
            if await self._broken_at(number):
                return
            self._generated += event.tokens
            if event.tells:
                self._told = self._usage()[1]
            if number == len(events) - 1:
                self.end("complete")
            data = self._encoded(event, last=number == len(events) - 1)
            if plain:
                batch += framed(data)
                if len(batch) > _BATCH_BYTES:
                    await self.wire.raw(bytes(batch))
                    batch.clear()
            else:
                await self._send(data)
                if self.orders.chunk_delay and event.tokens:
                    await asyncio.sleep(self.orders.chunk_delay)
        await self._finish_stream(bytes(batch))

    async def _finish_stream(self, rest: bytes) -> None:
        self.end("complete")
        ordered = self.orders.fault
        if ordered("stall_end") is not None:
            await self.wire.raw(rest)
            await self.wire.gone()
        elif ordered("http10") is not None:
            await self.wire.raw(rest)
            self.wire.close()
        elif ordered("trailers") is not None:
            await self.wire.raw(rest + b"0\r\nx-usage: 1000000\r\nauthorization: Bearer x\r\n\r\n")
        else:
            await self.wire.raw(rest + b"0\r\n\r\n")

    async def _stream_zipped(self) -> None:
        """The whole stream in one gzip member."""
        whole = gzip.compress(b"".join(self._encoded(event) for event in self._events()))
        cut = self.orders.fault("gzip_cut") is not None
        self._generated = self.plan.generated
        self._told = "nothing" if cut else self._usage()[1]
        self.end("cut" if cut else "complete")
        await self.wire.raw(framed(whole[: len(whole) // 2] if cut else whole) + b"0\r\n\r\n")

    async def _broken_at(self, number: int) -> bool:
        """Whether an ordered break comes before event `number`; then the answer has ended."""
        ordered = self.orders.fault
        for name in ("cut", "cutrst", "stall_mid", "bad_chunk", "half_frame", "error_event"):
            at = ordered(name)
            if at is None or number != int(at or 3):
                continue
            if name == "bad_chunk":
                await self._break("cut", b"zz\r\nnot a chunk\r\n")
            elif name == "half_frame":
                self.end("failed")
                await self.wire.raw(framed(b'data: {"id":"half","cho') + b"0\r\n\r\n")
            elif name == "error_event":
                self.end("failed")
                await self.wire.raw(framed(self._error_event()) + b"0\r\n\r\n")
            else:
                await self._break(name, b"")
            return True
        return False

    def _error_event(self) -> bytes:
        error = {"message": "The server had an error", "type": "server_error", "code": None}
        if self.ask.dialect == "anthropic_messages":
            body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            return b"event: error\ndata: " + orjson.dumps(body) + b"\n\n"
        return b"data: " + orjson.dumps({"error": error}) + b"\n\n"

    async def _send(self, data: bytes) -> None:
        old = self.orders.fault("http10") is not None
        split, drip = self.orders.fault("split"), self.orders.fault("drip")
        if split is None and drip is None:
            await self.wire.raw(data if old else framed(data))
            return
        step, pause_s = (int(split or 1), 0.0) if split is not None else (int(drip or 40), 0.03)
        for at in range(0, len(data), step):
            await self.wire.raw(data[at : at + step] if old else framed(data[at : at + step]))
            await asyncio.sleep(pause_s)

    def _events(self) -> Iterator[Event]:
        ordered = self.orders.fault
        usage, tells = self._usage()
        each = self.ask.tell_each or ordered("usage_cumulative") is not None
        dialect = self.ask.dialect
        script = formats.Script(
            reply_id=self.reply_id,
            out=self.plan.out,
            reason=self.plan.reason,
            tpc=max(1, self.orders.tpc),
            show=self.orders.show,
            wide=ordered("wide") is not None,
            told=usage,
            told_after=(lambda tokens: formats.usage(dialect, self.plan.counts(tokens))) if each and usage else None,
        )
        made = [*formats.events(self.ask, script)]
        if ordered("usage_early") is not None and tells == "exact":
            made = [e for e in made if e.tells] + [e for e in made if not e.tells]
        for event in made:
            if event.data == b"[DONE]":
                yield from self._done()
                continue
            yield event
            if event.tells and ordered("usage_twice") is not None:
                yield event
            if event.tells and ordered("error_after_usage") is not None:
                yield Event(self._error_event().partition(b"data: ")[2].strip())
        if (size := ordered("big_frame")) is not None:
            yield Event(orjson.dumps({"id": self.reply_id, "choices": [], "filler": "z" * int(size or 1_000_000)}))

    def _done(self) -> Iterator[Event]:
        ordered = self.orders.fault
        if ordered("done_missing") is not None:
            return
        yield Event(b" [DONE]  " if ordered("done_spaced") is not None else b"[DONE]")
        if ordered("done_twice") is not None:
            yield Event(b"[DONE]")
        if ordered("done_then_more") is not None:
            yield Event(orjson.dumps({"id": self.reply_id, "choices": []}))

    def _encoded(self, event: Event, *, last: bool = False) -> bytes:
        ordered = self.orders.fault
        named = f"event: {event.name}\n".encode() if event.name else b""
        if not self.orders.faults:
            return named + b"data: " + event.data + b"\n\n"
        data = event.data
        if ordered("multiline") is not None and data.startswith(b"{"):
            data = data.replace(b',"', b',\ndata: "', 1)
        text = named + b"data: " + data + b"\n\n"
        if ordered("comments") is not None:
            text = b": a comment\n\nretry: 3000\n" + text
        if ordered("no_last_blank") is not None and last:
            text = text[:-1]
        if ordered("crlf") is not None:
            text = text.replace(b"\n", b"\r\n")
        elif ordered("cr") is not None:
            text = text.replace(b"\n", b"\r")
        if ordered("bom") is not None and not self._begun:
            text = b"\xef\xbb\xbf" + text
        self._begun = True
        return text
