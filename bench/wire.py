"""What load and upstream agree on: the calls, the answers, and what the upstream charges. No code of the product."""

from __future__ import annotations

import json
from collections.abc import Mapping

KEY = "sk-bench-key-0000-abcdefghijklmnop"
RACE_KEY = "sk-bench-race-0000-abcdefghijklmnop"
PATH = "/v1/chat/completions"
MODEL, STREAM_MODEL, RACE_MODEL = "gpt-4o-mini", "bench-stream", "bench-race"

# gpt-4o-mini's prices, the same in every peer's books: nano-USD per token.
INPUT_NANOUSD, OUTPUT_NANOUSD = 150, 600

# A race: each call sends this prompt, allows RACE_CAP tokens and is answered with 40 to 400 of them.
RACE_PROMPT_TOKENS, RACE_CAP = 30, 400

UNARY_BODY = (
    b'{"model":"%s","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user",'
    b'"content":"Hello there, tell me what you can do for my project in one sentence."}],'
    b'"temperature":0.7,"max_tokens":256}' % MODEL.encode()
)
STREAM_BODY = (
    b'{"model":"%s","stream":true,"stream_options":{"include_usage":true},"max_tokens":1000,'
    b'"messages":[{"role":"user","content":"Hello there"}]}' % STREAM_MODEL.encode()
)
_TURN = (
    "The tests of the module pass now; what is left is the case in which the connection ends before its first line. "
)
AGENT_BODY = json.dumps({
    "model": MODEL, "max_tokens": 256,
    "messages": [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}: " + _TURN * 40} for number in range(133)
    ],
    "tools": [
        {"type": "function", "function": {"name": f"tool_{number}", "description": _TURN * 6, "parameters": {
            "type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "integer"}},
        }}} for number in range(20)
    ],
}, separators=(",", ":")).encode()  # fmt: skip
"""As an agent's late in a session: some 630 KB of texts that it has sent before, written without blanks as SDKs do."""

UNARY_ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello there, how can I help you today with your project? I can do many'
    b' things."},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40,'
    b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":5}}}'
)


def race_tokens(number: int) -> int:
    """How many tokens the upstream answers to a race's call `number`: 40 to 400, spread evenly, in no order."""
    return 40 + number * 151 % 361


def race_body(number: int) -> bytes:
    """The call `number` of a race; the number stands in the prompt, where the upstream reads it."""
    return (
        b'{"model":"%s","max_tokens":%d,"messages":[{"role":"user","content":"Race call #%d; please write a few '
        b'sentences about the history of the taximeter, its inventor and its name."}]}'
        % (RACE_MODEL.encode(), RACE_CAP, number)
    )


def race_nanousd(number: int) -> int:
    """What the upstream charges for a race's call `number`."""
    return RACE_PROMPT_TOKENS * INPUT_NANOUSD + race_tokens(number) * OUTPUT_NANOUSD


def request(
    body: bytes, key: str = KEY, *, stream: bool = False, headers: Mapping[str, str] | None = None, path: str = PATH
) -> bytes:
    """An HTTP/1.1 request as an SDK sends it. `x-bench-lane` is for Envoy, which cannot route by a body's field; `headers` are
    those by which a peer is told with each call where it goes."""
    lane = b"stream" if stream else b"unary"
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode()
    return (
        b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
        b"accept: application/json\r\nuser-agent: OpenAI/Python 2.0.0\r\nx-bench-lane: %s\r\n%scontent-length: %d\r\n\r\n"
        % (path.encode(), key.encode(), lane, more, len(body))
    ) + body
