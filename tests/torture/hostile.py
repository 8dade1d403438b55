"""An honest tenant beside hostile ones: its errors, its latency and its bill, alone and with them.

Hostile are callers without a key (heads without end, held connections, no HTTP, upgrades) and one with a key that trickles
bodies, reads no answers, hangs up, sends dense JSON and asks for prices. All of it is harmless to other software, and bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import evidence
from .figures import Verdict  # empty here: hostile callers keep no log for an auditor
from .harness import CALLERS, Rig
from .invoice import read_invoice
from .scenarios import Outcome
from .traffic import Traffic

HONEST, HOSTILE = CALLERS[0], CALLERS[2]
LIMITS = {
    "max_connections": 300, "header_timeout_s": 2, "body_timeout_s": 2, "write_timeout_s": 2, "max_body_mb": 4,
    "max_inflight_mb": 16,
}  # fmt: skip
_POOL = 40
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


def hostile_tenants(folder: Path, *, calls: int, seed: int = 1, rate: float = 40.0) -> Outcome:
    """The same open-loop load of one tenant twice; the second time with everybody else at it."""
    changes = {"server": LIMITS, "upstream": {"max_connections": _POOL}}
    wanted = Traffic(
        calls=calls, rate=rate, seed=seed, callers=(HONEST,), stream=0.5, kinds={"chat": 1.0}, delay=(0, 0.05), out=(1, 40),
        chunk_delay=(0, 0.005), timeout_s=30,
    )  # fmt: skip
    with Rig(folder, changes=changes) as rig:
        alone = _measured(rig, wanted)
        with attacking(rig) as done:
            beside = _measured(rig, replace(wanted, seed=seed + 1000))
        rig.quiet(60)
        bills = _bills(rig)
        verified = rig.gateway.verified()
    ends = {
        "the honest tenant's errors alone": alone.pop("errors"),
        "the honest tenant's errors beside hostile ones": beside.pop("errors"),
        "the honest tenant's bill is another": bills.pop("different"),
        "verify": [] if verified["ok"] else [json.dumps(verified["first_difference"])],
        "attacks that were never made": [name for name in ATTACKS if not done[name]],
    }
    facts = {"alone": alone, "beside": beside, "bill": bills, "attacks": dict(done)}
    return Outcome(Verdict(), False, facts, {name: found for name, found in ends.items() if found})


def _measured(rig: Rig, wanted: Traffic) -> dict[str, Any]:
    rig.end_load(rig.begin_load(wanted, callers=wanted.callers))
    lines = [json.loads(line) for line in rig.logs[-1].read_text().splitlines()]
    took = sorted((line["t1_ns"] - line["t0_ns"]) / 1e6 for line in lines)
    wrong = [f"{line['nonce']}: {line['end']} {line['status']}" for line in lines if line["status"] != 200]
    return {
        "calls": len(lines),
        "p50_ms": round(took[len(took) // 2], 1),
        "p99_ms": round(took[len(took) * 99 // 100], 1),
        "most_ms": round(took[-1], 1),
        "errors": wrong,
    }


def _bills(rig: Rig) -> dict[str, Any]:
    """The honest tenant's bill: what the provider invoices for its calls, and what the ledger says."""
    nonces = {json.loads(line)["nonce"] for log in rig.logs for line in log.read_text().splitlines()}
    invoiced = {
        line.attempt_id: line.billed_nano for line in read_invoice(rig.provider.invoice) if line.nonce in nonces
    }
    booked: Counter[str] = Counter()
    for entry in evidence.read_ledger(rig.gateway.ledger):
        if entry.key == HONEST.name:
            booked[entry.corrects_id or entry.id] += entry.cost_nano or 0
    different = [
        f"{one}: {booked.get(str(one))} for {nano}" for one, nano in invoiced.items() if booked.get(str(one)) != nano
    ]
    return {"invoiced_nano": sum(invoiced.values()), "booked_nano": sum(booked.values()), "different": different}


# The attacks. Each is one connection's life, begun again as soon as it ends.


def _post(key: str, length: int, extra: str = "") -> bytes:
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{extra}"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def _chat(order: str, **fields: Any) -> bytes:
    message = [{"role": "user", "content": f"hello [[{order}]]"}]
    return json.dumps({"model": "tm-plain", "messages": message, "max_tokens": 4000} | fields).encode()


async def _to_the_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


async def growing_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\n")
    for number in range(2000):
        writer.write(b"x-%d: y\r\n" % number * 100)
        await writer.drain()
        if reader.at_eof() or writer.transport.is_closing():
            break
    await asyncio.sleep(0.05)


async def long_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nx: ")
    for _ in range(2000):
        writer.write(b"y" * 1000)
        await writer.drain()
        if reader.at_eof() or writer.transport.is_closing():
            break
    await asyncio.sleep(0.05)


async def blank_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    while True:
        await asyncio.sleep(0.5)
        writer.write(b"\r\n")
        await writer.drain()


async def half_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nx-half: ")
    await _to_the_end(reader)


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
    await _to_the_end(reader)
    await asyncio.sleep(0.05)


async def upgrades(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n" + b"\x81" * 99
    )
    await _to_the_end(reader)
    await asyncio.sleep(0.05)


async def trickled_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_post(HOSTILE.key, 3_900_000) + b" " * 3_000_000)
    while True:
        await asyncio.sleep(0.5)
        writer.write(b" ")
        await writer.drain()


async def unread_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = _chat("out=400;chunk_delay=0.05", stream=True)
    writer.transport.set_write_buffer_limits(high=1)
    writer.write(_post(HOSTILE.key, len(body)) + body)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(30)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = _chat("out=60;chunk_delay=0.02", stream=True)
    writer.write(_post(HOSTILE.key, len(body)) + body)
    await reader.read(300)


async def dense_json(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = b'{"model":"tm-plain","x":[' + b"[]," * 600_000 + b"[]]}"
    writer.write(_post(HOSTILE.key, len(body), "connection: close\r\n") + body)
    await _to_the_end(reader)
    await asyncio.sleep(0.5)


async def cheap_tier(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = _chat("out=20", service_tier="provisioned")
    writer.write(_post(HOSTILE.key, len(body), "connection: close\r\n") + body)
    await _to_the_end(reader)
    await asyncio.sleep(0.05)


ATTACKS: dict[str, tuple[int, Attack]] = {
    "growing head": (2, growing_head), "long header": (2, long_header), "blank lines": (20, blank_lines),
    "half head": (20, half_head), "no HTTP": (2, no_http), "upgrades": (2, upgrades), "trickled body": (6, trickled_body),
    "unread answer": (50, unread_answer), "hang-up": (10, hang_up), "dense JSON": (1, dense_json),
    "cheap tier": (2, cheap_tier),
}  # fmt: skip
_ON_BOTH = ("growing head", "long header", "blank lines", "half head", "no HTTP")


@contextlib.contextmanager
def attacking(rig: Rig) -> Iterator[Counter[str]]:
    """All attacks at once, for as long as this lasts. How often each was made."""
    done: Counter[str] = Counter()
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_attack(rig, done, stop)))
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


async def _attack(rig: Rig, done: Counter[str], stop: threading.Event) -> None:
    data, control = (int(url.rpartition(":")[2]) for url in (rig.gateway.url, rig.gateway.admin_url))
    ports = [(name, port) for name in ATTACKS for port in ((data, control) if name in _ON_BOTH else (data,))]
    lives = [
        asyncio.create_task(_again(name, attack, port, done))
        for name, port in ports
        for count, attack in (ATTACKS[name],)
        for _ in range(count)
    ]
    while not stop.is_set():
        await asyncio.sleep(0.05)
    for life in lives:
        life.cancel()
    await asyncio.gather(*lives, return_exceptions=True)


async def _again(name: str, attack: Attack, port: int, done: Counter[str]) -> None:
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            done[name] += 1
            await attack(reader, writer)
        except OSError:
            await asyncio.sleep(0.1)
        finally:
            if writer is not None:
                writer.transport.abort()
