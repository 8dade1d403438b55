"""AWS's messages on their way: they pass as they came, however they are cut; what is half is not passed on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import streams
from proxy.exchange.framed_gate import FramedGate
from proxy.exchange.gate import Fault, Phase
from proxy.meters import bedrock
from proxy.meters.reader import Context
from proxy.wire.aws_event_stream import encode, encode_exception
from tests.support.splitting import parts_of

CONVERSE = [
    encode("messageStart", b'{"role":"assistant"}'),
    encode("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Zebras"}}'),
    encode("messageStop", b'{"stopReason":"end_turn"}'),
    encode("metadata", b'{"usage":{"inputTokens":21,"outputTokens":9,"totalTokens":30}}'),
]
USAGE = {"input": 21, "output": 9}


def chunk(event: Any) -> bytes:
    return encode("chunk", json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode())


INVOKE = [
    chunk({"type": "message_start", "message": {"usage": {"input_tokens": 21, "output_tokens": 1}}}),
    chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Zebras"}}),
    chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
    chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 21, "outputTokenCount": 9}}),
]
LLAMA = [
    chunk({"generation": "Ze", "prompt_token_count": 21, "generation_token_count": 1, "stop_reason": None}),
    chunk({"generation": "", "generation_token_count": 9, "stop_reason": "stop", "prompt_token_count": None,
           "amazon-bedrock-invocationMetrics": {"inputTokenCount": 21, "outputTokenCount": 9}}),
]  # fmt: skip
TOO_EARLY = b"(too early)"


def gate(invoke: bool = False, **more: Any) -> FramedGate:
    reader, form = (bedrock.invoke, streams.INVOKE) if invoke else (bedrock.converse, streams.CONVERSE)
    return FramedGate(reader, Context(from_client=True), form=form, **more)


@pytest.mark.parametrize(("frames", "invoke"), [(CONVERSE, False), (INVOKE, True), (LLAMA, True)])
@given(data=st.data())
def test_every_byte_passes_and_the_usage_is_read(data: st.DataObject, frames: list[bytes], invoke: bool) -> None:
    made = gate(invoke)

    out = b"".join(made.feed(part) for part in parts_of(b"".join(frames), data)) + made.finish(lambda: TOO_EARLY)

    assert out == b"".join(frames)
    assert made.final_reading().usage == USAGE
    assert (made.complete, made.fault, made.watch.final) == (True, Fault.NONE, True)


@pytest.mark.parametrize("passed", [0, 1, 2])
def test_a_stream_that_ends_before_its_last_word_gets_ours(passed: int) -> None:
    made = gate()

    out = made.feed(b"".join(CONVERSE[:passed]) + CONVERSE[passed][:20]) + made.finish(lambda: TOO_EARLY)

    assert out == b"".join(CONVERSE[:passed]) + TOO_EARLY
    assert (made.complete, made.fault) == (False, Fault.SILENT)


def test_a_stream_whose_usage_alone_is_missing_is_whole() -> None:
    made = gate()

    out = made.feed(b"".join(CONVERSE[:3])) + made.finish(lambda: TOO_EARLY)

    assert (out, made.complete, made.watch.final) == (b"".join(CONVERSE[:3]), True, False)


def test_an_exception_is_a_failure_and_its_secrets_are_blotted_out() -> None:
    secret = b"bedrock-api-key"
    made = gate(secrets=(secret,), redact=lambda data: data.replace(secret, b"[redacted]"))
    plain = encode_exception("throttlingException", b'{"message":"slow down"}')
    telling = encode_exception("validationException", b'{"message":"bedrock-api-key is wrong"}')

    out = made.feed(CONVERSE[0] + plain + telling) + made.finish(lambda: TOO_EARLY)

    assert out.startswith(CONVERSE[0] + plain)
    assert (secret in out, b"[redacted] is wrong" in out, TOO_EARLY in out) == (False, True, False)
    assert made.fault is Fault.SAID


@given(st.binary(min_size=12, max_size=200), st.integers(0, 3))
def test_what_cannot_be_read_passes_unobserved(garbage: bytes, behind: int) -> None:
    made = gate()
    good = b"".join(CONVERSE[:behind])

    out = made.feed(good)
    out += made.feed(b"\xff" * 12 + garbage) + made.feed(garbage) + made.finish(lambda: TOO_EARLY)

    assert out == good + b"\xff" * 12 + garbage + garbage
    assert made.phase is Phase.UNOBSERVED


@given(st.binary(min_size=12, max_size=200))
def test_what_stands_before_it_in_the_same_read_is_observed(garbage: bytes) -> None:
    made = gate()
    sent = b"".join(CONVERSE) + b"\xff" * 12 + garbage

    out = made.feed(sent) + made.feed(garbage) + made.finish(lambda: TOO_EARLY)

    assert out == sent + garbage
    assert made.final_reading().usage == USAGE
    assert (made.complete, made.watch.final, made.fault) == (True, True, Fault.NONE)


def test_what_was_written_is_kept_for_counting() -> None:
    for frames, invoke in ((CONVERSE, False), (INVOKE, True)):
        made = gate(invoke)
        made.feed(b"".join(frames))
        assert "Zebras" in json.dumps(made.watch.events_seen())


@pytest.mark.parametrize(("invoke", "messages"), [(False, CONVERSE), (True, INVOKE), (True, LLAMA)])
def test_of_a_stream_that_was_kept_whole_nothing_more_is_taken_to_have_been_there(
    invoke: bool, messages: list[bytes]
) -> None:
    """The frames round what was said are no part of it: a count would be too high by their share."""
    watched = gate(invoke)
    watched.feed(b"".join(messages))

    assert watched.watch.share_seen == 1.0
