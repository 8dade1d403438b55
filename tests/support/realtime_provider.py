"""A provider of spoken sessions, as a program of its own: OpenAI's Realtime and Gemini's Live, with a bill by its own arithmetic.

It does what a message tells it: a text of the user's that is a JSON object is an order (`{"text": 5, "audio": 40}`: how much to
answer). What it bills goes to `--bill`, a line a turn. Frames are the `websockets` library's; nothing here is the product's.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

OPENAI_KEY, GOOGLE_KEY = "sk-real-openai", "sk-real-google"
# USD for a million tokens: text in, cached text, text out, sound in, cached sound, sound out.
RATES = {
    "gpt-realtime": ("4", "0.4", "16", "32", "0.4", "64"),
    "gpt-realtime-mini": ("0.6", "0.06", "2.4", "10", "0.3", "20"),
    "gemini-live-2.5-flash": ("0.5", "0.5", "2", "3", "3", "12"),
}
TRANSCRIBER_RATES = {"gpt-4o-mini-transcribe": ("1.25", "3", "5")}  # text in, sound in, text out
INSTRUCTIONS = 50  # tokens that every conversation begins with
PCM_PER_TOKEN = 4800  # bytes of 100 ms at 24 kHz


class Bill:
    """Lines `{session, turn, usd}`; `usd` as an exact fraction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = 0

    def add(self, session: int, kind: str, model: str, usd: Fraction, **facts: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"session": session, "kind": kind, "model": model, "usd": str(usd)} | facts) + "\n")


def cost(rates: tuple[str, ...], counts: tuple[int, ...]) -> Fraction:
    return sum((Fraction(rate) * count for rate, count in zip(rates, counts, strict=True)), Fraction(0)) / 1_000_000


def orders_of(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class OpenAI:
    """One Realtime session."""

    def __init__(self, socket: ServerConnection, model: str, bill: Bill) -> None:
        self.socket, self.model, self.bill = socket, model, bill
        bill.sessions += 1
        self.number = bill.sessions
        self.turns = self.items = 0
        self.text, self.sound = INSTRUCTIONS, 0  # the conversation, in tokens
        self.cached_text = self.cached_sound = 0
        self.heard = bytearray()
        self.orders: dict[str, Any] = {}
        self.session: dict[str, Any] = {
            "type": "realtime", "object": "realtime.session", "id": f"sess_{self.number}", "model": model,
            "output_modalities": ["audio"], "max_output_tokens": "inf",
            "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}, "transcription": None,
                                "turn_detection": {"type": "server_vad"}},
                      "output": {"format": {"type": "audio/pcm", "rate": 24000}}},
        }  # fmt: skip
        self.speaking: asyncio.Task[None] | None = None
        self.beside: asyncio.Task[None] | None = None  # out of the conversation
        self.cleared = asyncio.Event()  # its input buffer: what `wait` waits for

    async def say(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, "event_id": f"event_{id(fields)}", **fields}))

    async def run(self) -> None:
        await self.say("session.created", session=self.session)
        async for message in self.socket:
            await self.take(json.loads(message))

    async def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "session.update":
            self.update(event["session"])
            await self.say("session.updated", session=self.session)
        elif kind == "input_audio_buffer.append":
            self.heard += base64.b64decode(event["audio"])
        elif kind == "input_audio_buffer.commit":
            await self.commit()
        elif kind == "conversation.item.create":
            for part in event["item"].get("content", []):
                self.text += len(part.get("text", "").split())
                self.orders = orders_of(part.get("text", "")) or self.orders
            self.items += 1
            await self.say("conversation.item.added", item={"id": f"item_{self.items}", **event["item"]})
        elif kind == "response.create":
            wanted = event.get("response") or {}
            beside = wanted.get("conversation") == "none"
            if not beside and self.speaking is not None and not self.speaking.done():
                await self.say("error", error={"type": "invalid_request_error", "message": "busy", "param": None,
                                               "code": "conversation_already_has_active_response",
                                               "event_id": event.get("event_id")})  # fmt: skip
                return
            speaking = asyncio.create_task(self.respond(wanted))
            self.beside, self.speaking = (speaking, self.speaking) if beside else (self.beside, speaking)
        elif kind == "response.cancel" and self.speaking is not None:
            self.speaking.cancel()
        elif kind == "input_audio_buffer.clear":
            self.heard.clear()
            self.cleared.set()
        elif kind != "response.cancel":
            await self.say("error", error={"type": "invalid_request_error", "code": "invalid_value", "param": "type",
                                           "message": f"Invalid value: {kind!r}.",
                                           "event_id": event.get("event_id")})  # fmt: skip

    def update(self, settings: dict[str, Any]) -> None:
        sound = settings.pop("audio", {})
        for side in ("input", "output"):
            self.session["audio"][side] |= sound.get(side, {})
        self.session |= settings

    async def commit(self) -> None:
        tokens = -(-len(self.heard) // PCM_PER_TOKEN)
        self.sound += tokens
        self.heard.clear()
        self.items += 1
        name = f"item_{self.items}"
        await self.say("input_audio_buffer.committed", item_id=name, previous_item_id=None)
        transcriber = (self.session["audio"]["input"].get("transcription") or {}).get("model")
        if transcriber:
            counts = (0, tokens, 7)
            self.bill.add(self.number, "transcript", transcriber, cost(TRANSCRIBER_RATES[transcriber], counts))
            usage = {"type": "tokens", "input_tokens": tokens, "output_tokens": 7, "total_tokens": tokens + 7,
                     "input_token_details": {"text_tokens": 0, "audio_tokens": tokens}}  # fmt: skip
            await self.say("conversation.item.input_audio_transcription.completed", item_id=name, content_index=0,
                           transcript="so it was said", usage=usage)  # fmt: skip
        if self.session["audio"]["input"].get("turn_detection"):
            self.speaking = asyncio.create_task(self.respond({}))

    async def respond(self, wanted: dict[str, Any]) -> None:
        orders, self.turns = self.orders, self.turns + 1
        name = f"resp_{self.number}_{self.turns}"
        response = {"id": name, "object": "realtime.response", "conversation_id": f"conv_{self.number}"}
        if orders.get("wait"):
            await self.cleared.wait()
        await self.say("response.created", response=response | {"status": "in_progress", "usage": None})
        if orders.get("drop"):
            await self.say(
                "response.output_audio.delta", response_id=name, delta=base64.b64encode(b"\0" * 24000).decode()
            )
            self.socket.transport.abort()
            return
        text, sound = int(orders.get("text", 3)), int(orders.get("audio", 0))
        status = "completed"
        try:
            for _ in range(text):
                await self.say("response.output_text.delta", response_id=name, delta="word ")
            for _ in range(sound // 10):
                await self.say("response.output_audio.delta", response_id=name,
                               delta=base64.b64encode(b"\0" * 24000).decode())  # fmt: skip
            if orders.get("hang"):
                await asyncio.sleep(float(orders["hang"]))
        except asyncio.CancelledError:
            status = "cancelled"
        await self.done(response, status, text, sound)

    async def done(self, response: dict[str, Any], status: str, text: int, sound: int) -> None:
        """What was there at the last turn is read from the cache."""
        cached = min(self.cached_text, self.text), min(self.cached_sound, self.sound)
        rates = RATES[self.model]
        counts = (self.text - cached[0], cached[0], text, self.sound - cached[1], cached[1], sound)
        self.bill.add(self.number, "turn", self.model, cost(rates, counts), turn=response["id"])
        usage = {
            "total_tokens": self.text + self.sound + text + sound,
            "input_tokens": self.text + self.sound,
            "output_tokens": text + sound,
            "input_token_details": {
                "text_tokens": self.text, "audio_tokens": self.sound, "image_tokens": 0, "cached_tokens": sum(cached),
                "cached_tokens_details": {"text_tokens": cached[0], "audio_tokens": cached[1], "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": text, "audio_tokens": sound},
        }  # fmt: skip
        self.cached_text, self.cached_sound = self.text, self.sound
        self.text, self.sound = self.text + text, self.sound + sound
        with contextlib.suppress(ConnectionClosed):
            await self.say("response.done", response=response | {"status": status, "output": [], "usage": usage})


class Gemini:
    """One Live session. Its usage is told with the end of a turn, and for some turns once before, smaller."""

    def __init__(self, socket: ServerConnection, bill: Bill) -> None:
        self.socket, self.bill = socket, bill
        bill.sessions += 1
        self.number = bill.sessions
        self.model = ""
        self.turns = self.heard = 0
        self.text, self.sound = INSTRUCTIONS, 0
        self.orders: dict[str, Any] = {}

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message).encode())  # as bytes, as Google does

    async def run(self) -> None:
        setup = json.loads(await self.socket.recv())["setup"]
        self.model = setup["model"].removeprefix("models/")
        if self.model not in RATES:
            await self.socket.close(1008, f"models/{self.model} is not found")
            return
        await self.say(setupComplete={})
        async for message in self.socket:
            await self.take(json.loads(message))

    async def take(self, message: dict[str, Any]) -> None:
        content = message.get("client_content") or message.get("clientContent") or {}
        given = message.get("realtime_input") or message.get("realtimeInput") or {}
        for turn in content.get("turns", []):
            for part in turn.get("parts", []):
                self.text += len(part.get("text", "").split())
                self.orders = orders_of(part.get("text", "")) or self.orders
        if "audio" in given:
            self.heard += len(base64.b64decode(given["audio"]["data"]))
        if content.get("turnComplete") or given.get("audioStreamEnd") or given.get("audio_stream_end"):
            self.sound += -(-self.heard // 1280)  # 16 kHz, 25 tokens a second
            self.heard = 0
            await self.respond()

    async def respond(self) -> None:
        orders, self.turns = self.orders, self.turns + 1
        text, sound = int(orders.get("text", 3)), int(orders.get("audio", 0))
        for _ in range(text):
            await self.say(serverContent={"modelTurn": {"parts": [{"text": "word "}]}})
        for _ in range(sound // 25):
            blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(b"\0" * 48000).decode()}
            await self.say(serverContent={"modelTurn": {"parts": [{"inlineData": blob}]}})
        if orders.get("drop"):
            self.socket.transport.abort()
            return
        if orders.get("hang"):
            await asyncio.sleep(float(orders["hang"]))
        if orders.get("twice"):
            await self.say(serverContent={"generationComplete": True}, usageMetadata=self.usage(text // 2, 0))
        counts = (self.text, 0, text, self.sound, 0, sound)
        self.bill.add(self.number, "turn", self.model, cost(RATES[self.model], counts), turn=self.turns)
        usage = self.usage(text, sound)
        self.text, self.sound = self.text + text, self.sound + sound
        if orders.get("handle"):
            await self.say(sessionResumptionUpdate={"newHandle": orders["handle"], "resumable": True})
        if orders.get("late"):
            await self.say(serverContent={"turnComplete": True})
            await self.say(usageMetadata=usage)
        else:
            await self.say(serverContent={"turnComplete": True}, usageMetadata=usage)

    def usage(self, text: int, sound: int) -> dict[str, Any]:
        def details(text: int, sound: int) -> list[dict[str, Any]]:
            counts = (("TEXT", text), ("AUDIO", sound))
            return [{"modality": kind, "tokenCount": count} for kind, count in counts if count]

        return {
            "promptTokenCount": self.text + self.sound, "responseTokenCount": text + sound,
            "totalTokenCount": self.text + self.sound + text + sound,
            "promptTokensDetails": details(self.text, self.sound), "responseTokensDetails": details(text, sound),
        }  # fmt: skip


def check(connection: ServerConnection, request: Request) -> Response | None:
    """Only a client with our own credential gets in, and nothing of a virtual key ever does."""
    told = str(request.headers) + request.path
    openai = request.headers.get("authorization") == f"Bearer {OPENAI_KEY}"
    google = request.headers.get("x-goog-api-key") == GOOGLE_KEY
    if (openai or google) and "sk-team" not in told:
        return None
    body = b'{"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}'
    headers = Headers({"content-type": "application/json", "content-length": str(len(body))})
    return Response(HTTPStatus.UNAUTHORIZED, "Unauthorized", headers, body)


async def main(bill: Bill) -> None:
    async def session(socket: ServerConnection) -> None:
        assert socket.request is not None
        parts = urlsplit(socket.request.path)
        with contextlib.suppress(ConnectionClosed):
            if parts.path.startswith("/ws/google.ai.generativelanguage.v1"):
                await Gemini(socket, bill).run()
            else:
                await OpenAI(socket, parse_qs(parts.query)["model"][0], bill).run()

    async with serve(session, "127.0.0.1", 0, process_request=check, max_size=None, subprotocols=None) as server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bill", type=Path, required=True)
    asyncio.run(main(Bill(parser.parse_args().bill)))
