"""A call asked of the translator's application in this process, without a socket between."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from proxy.translate.server import Translation

PATHS = {"chat": "chat/completions", "responses": "responses", "messages": "v1/messages"}


async def asked(application: Translation, upstream: str, caller: str, body: dict[str, Any]) -> list[Any]:
    """The ASGI messages of its answer: the head, then the body's parts. caller: whose dialect, `chat`, `responses` or `messages`."""
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}]
    never = asyncio.Event()

    async def receive() -> Any:
        if not messages:
            await never.wait()
        return messages.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "raw_path": f"/{upstream}/{PATHS[caller]}".encode(), "headers": []}
    await application(scope, receive, send)
    return sent
