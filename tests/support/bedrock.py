"""A fake of Amazon Bedrock's runtime, and of the STS beside it: it checks signatures, and has a bill of its own.

As a command: `python -m tests.support.bedrock --bill FILE` prints its port. What the last message says is what happens: BUSY is a
ThrottlingException, WRONG a ValidationException, FLAKY one of these the first time, CUT a stream that breaks off, FAILS one that
ends in an exception, TOOL calls a tool, ENDLESS a stream that only its caller's leaving ends, PAUSES one that takes its time, SLOW an answer that takes half a
second, unless its caller leaves. Who leaves is noted in the bill. Standard library only: it shares no code with the product.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import re
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.support.aws_frames import frame
from tests.support.aws_signatures import wrong_signature
from tests.support.aws_sts import ROLE_SECRETS, give_role
from tests.support.bedrock_pictures import made
from tests.support.http_server import Handler, serve_forever

REGION = "us-east-1"
KEY, SECRET = "AKIDBEDROCKEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
API_KEY = "bedrock-api-key-of-the-tests"
TEXT = "Zebras have stripes."
_SECRETS = {KEY: (SECRET, ""), **ROLE_SECRETS}

# USD per million tokens (aws.amazon.com/bedrock/pricing, US East): input, output, cache read, cache write 5 min, 1 h.
PRICES = {
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("3.3", "16.5", "0.33", "4.125", "6.6"),
    "anthropic.claude-3-haiku-20240307-v1:0": ("0.25", "1.25", "0", "0", "0"),
    "us.meta.llama3-3-70b-instruct-v1:0": ("0.72", "0.72", "0", "0", "0"),
    "amazon.nova-pro-v1:0": ("0.8", "3.2", "0.2", "0", "0"),
    "amazon.titan-embed-text-v2:0": ("0.02", "0", "0", "0", "0"),
}
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"  # of Haiku
_OF_PROFILES = {PROFILE: "anthropic.claude-3-haiku-20240307-v1:0"}

_bill: Path
_lock = threading.Lock()
_flaky: set[str] = set()


def charge_each(model: str, count: int, usd: str) -> None:
    """Pictures, at so much each."""
    with _lock, _bill.open("a") as file:
        file.write(json.dumps({"model": model, "nanousd": round(Fraction(usd) * 10**9 * count)}) + "\n")


def charge(model: str, given: int, taken: int, read: int = 0, short: int = 0, long: int = 0) -> None:
    bare = re.sub(r"^arn:.*/", "", _OF_PROFILES.get(model, model))
    usd = sum(
        Fraction(price) * count for price, count in zip(PRICES[bare], (given, taken, read, short, long), strict=True)
    )
    with _lock, _bill.open("a") as file:
        file.write(json.dumps({"model": model, "nanousd": round(usd * 1000)}) + "\n")


class Bedrock(Handler):
    def answer_request(self) -> None:
        data = self.read_body()
        if self.path in ("/", "/sts"):
            give_role(self, data, KEY, SECRET, REGION)
            return
        match = re.fullmatch(r"/model/([^/]+)/([a-z-]+)", self.path)
        if match is None:
            self._fail(404, "ResourceNotFoundException", f"no such path: {self.path}")
            return
        if self.headers.get("authorization") != f"Bearer {API_KEY}":
            wrong = wrong_signature(self, data, _SECRETS, REGION, "bedrock")
            if wrong:
                self._fail(403, "InvalidSignatureException", wrong)
                return
        self._serve(unquote(match[1]), match[2], json.loads(data))

    def _fail(self, status: int, name: str, message: str) -> None:
        heads = {"retry_after": "2"} if status == 429 else {}
        body = json.dumps({"message": message}).encode()
        self.send(body, status=status, x_amzn_errortype=f"{name}:http://amazon", x_amzn_requestid="req-1", **heads)

    def _left(self, most_s: float) -> bool:
        """Whether the caller leaves within that time; noted then."""
        self.connection.settimeout(most_s)
        try:
            left = self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            left = True
        if left:
            with _lock, _bill.open("a") as file:
                file.write(json.dumps({"hung_up": self.path}) + "\n")
        return left

    def _serve(self, model: str, action: str, body: Any) -> None:
        said = json.dumps(body.get("messages", [body])[-1])
        if "SLOW" in said and self._left(0.5):
            self.close_connection = True
            return
        flaky = re.search(r"FLAKY-\w+", said)
        if flaky and flaky[0] not in _flaky:
            _flaky.add(flaky[0])
            self._fail(503, "ServiceUnavailableException", "Once more, please.")
        elif "BUSY" in said:
            self._fail(429, "ThrottlingException", "Too many requests, said the provider.")
        elif "WRONG" in said:
            self._fail(400, "ValidationException", "The provider does not like this.")
        elif action == "count-tokens":
            self.send_json({"inputTokens": 21})
        elif action.startswith("converse"):
            self._converse(model, body, said, stream=action.endswith("stream"))
        else:
            self._invoke(model, body, said, stream=action.endswith("stream"))

    def _converse(self, model: str, body: Any, said: str, *, stream: bool) -> None:
        used = {
            "inputTokens": 21, "outputTokens": 9, "totalTokens": 42, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7,
            "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 4}],
        }  # fmt: skip
        counts = (21, 9, 5, 3, 4)
        if "cachePoint" not in json.dumps(body):
            used, counts = {"inputTokens": 21, "outputTokens": 9, "totalTokens": 30}, (21, 9, 0, 0, 0)
        call = {"toolUseId": "t1", "name": "look"} if "TOOL" in said else None
        stop = "tool_use" if call else "end_turn"
        if not stream:
            content = [{"toolUse": call | {"input": {"n": 1}}} if call else {"text": TEXT}]
            charge(model, *counts)
            answer = {
                "output": {"message": {"role": "assistant", "content": content}},
                "stopReason": stop,
                "usage": used,
            }
            self.send(json.dumps(answer | {"metrics": {"latencyMs": 1}}).encode(), x_amzn_requestid="req-2")
            return
        events: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
        if call:
            events.append(("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": call}}))
            events.append(("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"n": 1}'}}}))
        else:
            events += [
                ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": w}})
                for w in re.findall(r"\S+\s*", TEXT)
            ]
        events.append(("contentBlockStop", {"contentBlockIndex": 0}))
        events += [("messageStop", {"stopReason": stop}), ("metadata", {"usage": used, "metrics": {"latencyMs": 1}})]
        self._stream([frame(*event) for event in events], said, lambda: charge(model, *counts))

    def _invoke(self, model: str, body: Any, said: str, *, stream: bool) -> None:
        if pictures := made(model, body):
            answer, count, usd = pictures
            charge_each(model, count, usd)
            if stream:
                self._stream([_chunk(answer)], said, lambda: None)
            else:
                self.send_json(answer)
        elif "texts" in body or "embed" in model:
            charge(model, 6, 0)
            counts = {"x_amzn_bedrock_input_token_count": "6"}
            self.send(json.dumps({"embedding": [0.25, -0.5], "inputTextTokenCount": 6}).encode(), **counts)
        elif "llama" in model:
            self._llama(model, said, stream=stream)
        elif "nova" in model:
            self._nova(model)
        else:
            self._claude(model, said, stream=stream)

    def _nova(self, model: str) -> None:
        """Its body has no counts; the headers do."""
        charge(model, 8, 3)
        message = {"role": "assistant", "content": [{"text": TEXT}]}
        heads = {"x_amzn_bedrock_input_token_count": "8", "x_amzn_bedrock_output_token_count": "3"}
        self.send(json.dumps({"output": {"message": message}, "stopReason": "end_turn"}).encode(), **heads)

    def _llama(self, model: str, said: str, *, stream: bool) -> None:
        counts = {"prompt_token_count": 12, "generation_token_count": 5}
        if not stream:
            charge(model, 12, 5)
            self.send_json({"generation": TEXT, "stop_reason": "stop", **counts})
            return
        events: list[Any] = [
            {
                "generation": word,
                "prompt_token_count": 12 if not i else None,
                "generation_token_count": i + 1,
                "stop_reason": None,
            }
            for i, word in enumerate(re.findall(r"\S+\s*", TEXT))
        ]
        metrics = {"inputTokenCount": 12, "outputTokenCount": 5}
        events.append(
            {
                "generation": "",
                "prompt_token_count": None,
                "generation_token_count": 5,
                "stop_reason": "stop",
                "amazon-bedrock-invocationMetrics": metrics,
            }
        )
        self._stream([_chunk(event) for event in events], said, lambda: charge(model, 12, 5))

    def _claude(self, model: str, said: str, *, stream: bool) -> None:
        usage = {"input_tokens": 20, "output_tokens": 9}
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": None}
        if not stream:
            charge(model, 20, 9)
            content = [{"type": "text", "text": TEXT}]
            self.send_json(head | {"content": content, "stop_reason": "end_turn", "usage": usage})
            return
        events: list[Any] = [
            {"type": "message_start", "message": head | {"content": [], "usage": usage | {"output_tokens": 1}}}
        ]
        events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        events += [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in re.findall(r"\S+\s*", TEXT)
        ]
        events.append({"type": "content_block_stop", "index": 0})
        events.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
        metrics = {"inputTokenCount": 20, "outputTokenCount": 9}
        events.append({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})
        self._stream([_chunk(event) for event in events], said, lambda: charge(model, 20, 9))

    def _stream(self, frames: list[bytes], said: str, charged: Any) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/vnd.amazon.eventstream")
        self.send_header("x-amzn-requestid", "req-3")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        whole = b"".join(frames)
        with contextlib.suppress(OSError):
            if "CUT" in said:
                self.wfile.write(whole[: len(frames[0]) + len(frames[1]) + 20])
                return
            if "FAILS" in said:
                failure = {"message": "The model failed."}
                self.wfile.write(frames[0] + frames[1] + frame("modelStreamErrorException", failure, "exception"))
                return
            if "ENDLESS" in said:
                self.wfile.write(b"".join(frames[:4]))
                self._left(30)
                return
            charged()
            for start in range(0, len(whole), 100):  # wherever that falls
                time.sleep(0.02 if "PAUSES" in said else 0)
                self.wfile.write(whole[start : start + 100])


def _chunk(event: Any) -> bytes:
    return frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abcdefg"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bill", type=Path, required=True)
    _bill = parser.parse_args().bill
    serve_forever(Bedrock)
