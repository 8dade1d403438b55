"""How many recorded answers, and what may come in their place, end at their ceiling: charged for all that could have been.

    python -m tests.flow.odd_share

Prints, for each kind of oddity, answers and those whose entry is `unconfirmed`. Runs against older commits too: copy this
file into their `tests/flow` and `odd_bytes.py` into their `tests/support`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.flow.house import Answer, House
from tests.support.odd_bytes import Recorded, mutations, recorded

_TEXT = [{"role": "user", "content": "hi"}]
# Which path an answer of a dialect is asked for at, and with what.
PATHS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": _TEXT, "max_tokens": 100}),
    "messages": ("/v1/messages", {"messages": _TEXT, "max_tokens": 100}),
    "responses": ("/v1/responses", {"input": "hi", "max_output_tokens": 100}),
    "completions": ("/v1/completions", {"prompt": "hi", "max_tokens": 100}),
    "embeddings": ("/v1/embeddings", {"input": "hi"}),
    "gemini": ("/v1beta/models/m:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}),
    "speech": ("/v1/audio/speech", {"input": "hi", "voice": "alloy"}),
}
UNITS = ("input", "output", "image", "audio_second", "character", "video_second", "web_search", "request", "grounding",
         "grounding_maps", "file_search", "code_session")  # fmt: skip


def path_of(one: Recorded) -> tuple[str, dict[str, Any]] | None:
    dialect = one.line["dialect"].removesuffix(".stream")
    found = PATHS.get(dialect.rpartition(".")[2]) or (PATHS["gemini"] if dialect == "gemini" else None)
    if found is None or one.line["provider"] in ("cohere", "cloudflare"):
        return None
    path, body = found
    if "generateContent" in path and one.streamed:
        path = path.replace(":generate", ":streamGenerate")
    return path, body


def _in_turn(answer: Answer) -> Callable[[Any], Awaitable[Answer]]:
    """The answer; whatever else the upstream is asked (to count tokens), it does not know. Older houses need no more than one."""
    left = [answer]

    async def answering(body: Any) -> Answer:
        return left.pop() if left else Answer(b"", status=404)

    return answering


async def counted(one: Recorded, ended: Counter[str], all_of: Counter[str]) -> None:
    """Ask for `one` and everything that may come in its place."""
    found = path_of(one)
    if found is None:
        return
    path, body = found
    provider, model = one.line["provider"], "m"
    with tempfile.TemporaryDirectory() as folder:
        house = House(
            Path(folder),
            upstreams={"up": {"base_url": "http://127.0.0.1:1/v1", "provider": provider,
                              "dialects": ["openai", "anthropic", "gemini"]}},
            models={"m": {"upstream": "up", "context_tokens": 1_000_000, "max_output_tokens": 128_000}},
            prices=[{"provider": provider, "model": "*", **dict.fromkeys(UNITS, "1")}],
        )  # fmt: skip
        kinds = []
        for odd in mutations(one):
            kind = b"text/event-stream" if one.streamed else b"application/json"
            fields: dict[str, Any] = {**body, "model": model} if "models/" not in path else dict(body)
            if one.streamed and "models/" not in path:
                fields["stream"] = True
            fields["chat"] = False
            house.answering = _in_turn(Answer(odd.body, kind=kind))
            await house.ask(Answer(odd.body, kind=kind), path=path, **fields)
            kinds.append(odd.kind)
        ends = [record for record in house.records() if record["t"] in ("settle", "refused", "void")]
        assert len(ends) == len(kinds), (one.name, len(ends), len(kinds), ends[-1:])
        for kind, end in zip(kinds, ends, strict=True):
            all_of[kind] += 1
            ended[kind] += end.get("status") == "unconfirmed"
        house.plane.spool.close()


async def all_counted() -> tuple[Counter[str], Counter[str]]:
    """Of each kind, those that ended at their ceiling, and all."""
    ended: Counter[str] = Counter()
    all_of: Counter[str] = Counter()
    for one in recorded():
        await counted(one, ended, all_of)
    return ended, all_of


def told(ended: Counter[str], all_of: Counter[str]) -> str:
    """A line a kind, and the share of all."""
    lines = [f"{kind:38} {all_of[kind]:5} {ended[kind]:5}" for kind in all_of]
    total, ceilings = sum(all_of.values()), sum(ended.values())
    share = {"answers": total, "at_their_ceiling": ceilings, "share": round(ceilings / total, 4)}
    return "\n".join([*lines, json.dumps(share)]) + "\n"


async def main() -> None:
    sys.stdout.write(told(*await all_counted()))


if __name__ == "__main__":
    asyncio.run(main())
