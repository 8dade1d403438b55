"""The fake provider, a program of its own: `python -m tests.torture.provider --port 0 --invoice FILE`.

Prints `{"port": …, "pid": …}` on standard output when it answers. Prompts carry orders (`orders.py`); every accepted
request is on the invoice, synced to disk, before its first response byte (`invoice.py`). Not billed and not on it:
`GET /v1/models`, and `/_provider/status`, which tells how many answers are being given and what arrived besides.
SIGTERM ends it, with every line written.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import uvloop

from . import formats, tariff
from .answers import Answer, Plan, plan
from .formats import Ask, BadAskError
from .invoice import Invoice
from .orders import LAWS, BadOrdersError, Law, Orders, parse
from .wire import Connection, Request, Wire

_BODY_KEPT = 256 * 1024


class Provider:
    """Accepts, invoices and answers. `keys` None means that every key is taken."""

    def __init__(self, invoice: Invoice, law: Law, keys: frozenset[str] | None, default_out: int, vllm: bool) -> None:
        self.invoice, self.law, self.keys, self.default_out, self.vllm = invoice, law, keys, default_out, vllm
        self.counts: Counter[str] = Counter()
        self._number = 0

    async def __call__(self, request: Request, wire: Wire) -> None:
        path = request.path
        if path.startswith("/_provider/"):
            await self._own_page(path, wire)
        elif request.method == "GET" and path == "/v1/models":
            rows = [{"id": m, "object": "model", "created": 1, "owned_by": "torture"} for m in tariff.PRICES]
            await wire.answer(200, orjson.dumps({"object": "list", "data": rows}))
        elif request.method != "POST":
            await self._refuse(wire, BadAskError(404, f"no such path: {path}"))
        else:
            try:
                ask = self._read(request)
                orders = parse(ask.text)
            except BadAskError as bad:
                await self._refuse(wire, bad)
            except BadOrdersError as bad:
                await self._refuse(wire, BadAskError(400, str(bad)))
            else:
                await self._serve(request, wire, ask, orders)

    def _read(self, request: Request) -> Ask:
        if self.keys is not None and _key(request) not in self.keys:
            raise BadAskError(401, "Incorrect API key provided")
        ask = formats.read(request.path, request.body)
        if ask.model not in tariff.PRICES:
            raise BadAskError(404, f"The model {ask.model!r} does not exist")
        if ask.tell_each and not self.vllm:
            raise BadAskError(400, "Unknown parameter: 'stream_options.continuous_usage_stats'.")
        return ask

    async def _refuse(self, wire: Wire, bad: BadAskError) -> None:
        """A request that the provider does not take: nothing is billed, and it is counted."""
        self.counts[f"refused_{bad.status}"] += 1
        error = {"message": str(bad), "type": "invalid_request_error", "param": None, "code": None}
        await wire.answer(bad.status, orjson.dumps({"error": error}))

    async def _own_page(self, path: str, wire: Wire) -> None:
        if path == "/_provider/status":
            await wire.answer(200, orjson.dumps({"open": 0, "accepted": 0} | self.counts))
        else:
            self.counts[path.removeprefix("/_provider/")] += 1
            await wire.answer(200, b"{}")

    async def _serve(self, request: Request, wire: Wire, ask: Ask, orders: Orders) -> None:
        self._number += 1
        line, law = f"{os.getpid()}-{self._number}", orders.mode or self.law
        reply_id = f"reply-{line}-{time.time_ns()}"
        planned = plan(ask, orders, self.default_out)
        opened = _opening(line, request, ask, orders, planned) | {"law": law, "reply_id": reply_id}

        def finish(end: str, told: str, units: dict[str, int]) -> None:
            self.counts["open"] -= 1
            billed = {unit: quantity for unit, quantity in units.items() if quantity}
            closed = {"e": "close", "line": line, "end": end, "told": told, "billed": billed} | _now()
            closed["billed_nano"] = tariff.cost_nano(ask.model, units)
            self.invoice.note(closed)

        said = replace(ask, model=orders.answers_as or ask.model)
        answer = Answer(ask=said, orders=orders, plan=planned, law=law, wire=wire, reply_id=reply_id, finish=finish)
        self.counts["accepted"] += 1
        self.counts["open"] += 1
        try:
            await self.invoice.durable(opened)
            await answer.give()
        finally:
            answer.end("client_left")


def _key(request: Request) -> str:
    headers = request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    return bearer or headers.get("x-api-key", "") or headers.get("x-goog-api-key", "")


def _now() -> dict[str, int]:
    return {"at_us": time.time_ns() // 1000, "mono_ns": time.monotonic_ns()}


def _opening(line: str, request: Request, ask: Ask, orders: Orders, planned: Plan) -> dict[str, Any]:
    return {
        "e": "open",
        "line": line,
        "nonce": orders.nonce,
        "key": _key(request),
        "path": request.path,
        "dialect": ask.dialect,
        "model": ask.model,
        "max_tokens": ask.cap,
        "n": ask.choices,
        "stream": ask.stream,
        "planned": {unit: quantity for unit, quantity in planned.units.items() if quantity},
        "planned_nano": tariff.cost_nano(ask.model, planned.units),
        "attempt_id": request.headers.get("x-taximeter-attempt-id") or request.headers.get("x-client-request-id"),
        "body": request.body[:_BODY_KEPT].decode("utf-8", "replace"),
    } | _now()


async def serve(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    invoice = Invoice(args.invoice)
    keys = frozenset(args.keys.split(",")) if args.keys else None
    provider = Provider(invoice, args.law, keys, args.default_out, args.vllm)
    tasks: set[asyncio.Task[None]] = set()
    server = await loop.create_server(lambda: Connection(provider, tasks), args.host, args.port, backlog=4096)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "pid": os.getpid()}), flush=True)
    await stop.wait()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    invoice.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="provider", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--invoice", type=Path, required=True)
    parser.add_argument("--law", choices=LAWS, default="bill_anyway", help="where a prompt does not say `mode`")
    parser.add_argument("--keys", default="", help="the keys that are taken, comma between; default: all")
    parser.add_argument("--default-out", type=int, default=16, help="completion tokens where a prompt orders none")
    parser.add_argument("--vllm", action="store_true", help="take stream_options.continuous_usage_stats")
    args = parser.parse_args()
    uvloop.run(serve(args))
    sys.exit(0)


if __name__ == "__main__":
    main()
