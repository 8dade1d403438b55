"""What a request to a provider must not ask for, and where it goes: that decides its price, and may be nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
import pytest

from pricing.load import load_book
from proxy.errors import Refused
from proxy.translate.hook import Read, Tap
from proxy.translate.native import Observed
from proxy.translate.runs import Pieces, Run
from proxy.wire import aws_event_stream
from tests.support.rows import each_row

BODY = json.dumps({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}).encode()
ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "x"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 1_000_000, "candidatesTokenCount": 0, "totalTokenCount": 1_000_000},
}
MODEL = "gemini-3.5-flash"


def sent(location: str, host: str, *, wanted: str = "", query: str = "") -> Tap:
    tap = Tap("google-vertex", MODEL, most_output=100, body_bytes=len(BODY), location=wanted)
    path = f"/v1/projects/p/locations/{location}/publishers/google/models/{MODEL}:generateContent"
    tap.begin(httpx.Request("POST", f"https://{host}{path}{query}"), BODY)
    return tap


def cost(location: str, host: str) -> Decimal | None:
    tap = sent(location, host, query="?key=secret")
    assert tap.observed is not None
    tap.observed.began(200, {"content-type": "application/json"})
    tap.observed.feed(json.dumps(ANSWER).encode())
    reading = tap.observed.reading()
    assert "secret" not in str(reading)
    return load_book().cost(reading, provider="google-vertex", model=MODEL, at_s=1_795_000_000).cost_usd


def test_a_price_is_that_of_where_the_request_went() -> None:
    """Vertex AI asks a tenth more for a region than for `global`; LiteLLM has a region of its own where none is set."""
    everywhere = cost("global", "aiplatform.googleapis.com")

    assert everywhere
    assert cost("europe-west4", "europe-west4-aiplatform.googleapis.com") == everywhere * Decimal("1.1")
    assert cost("eu", "aiplatform.eu.rep.googleapis.com") == everywhere * Decimal("1.1")


def test_nothing_is_sent_to_another_place_than_its_upstreams() -> None:
    """LiteLLM knows where some models are, and asks them there whatever it is told."""
    with pytest.raises(Refused) as refused:
        sent("global", "aiplatform.googleapis.com", wanted="europe-west4")

    assert "europe-west4" in refused.value.refusal.message
    assert sent("europe-west4", "europe-west4-aiplatform.googleapis.com", wanted="europe-west4").refusal is None


class Parts(httpx.AsyncByteStream):
    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


async def test_an_answer_that_litellm_gives_up_at_its_end_is_read_to_its_usage() -> None:
    """It raises at an end that is a failure; the usage stands behind that, and is billed."""
    tap = sent("global", "aiplatform.googleapis.com", query="?alt=sse")
    assert tap.observed is not None
    tap.observed.began(200, {"content-type": "text/event-stream"})
    failed = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "OTHER"}]}
    tap.stream = Read(
        Parts(*(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (failed, ANSWER))), tap.observed
    )
    async for _ in tap.stream:
        break
    assert not tap.observed.reading().usage

    await tap.aclose()

    assert tap.observed.reading().usage["input"] == 1_000_000


FRAMES = [
    aws_event_stream.encode(name, json.dumps(value).encode())
    for name, value in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "x"}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {"latencyMs": 1}}),
    )
]


def converse() -> Observed:
    observed = Observed("aws", "https://bedrock.invalid/model/m/converse-stream", "m", {})
    observed.began(200, {"content-type": aws_event_stream.CONTENT_TYPE.decode()})
    return observed


@pytest.mark.parametrize("held", [1, 20, len(FRAMES[-1]) - 1])
async def test_what_litellm_gave_up_in_the_middle_of_an_event_is_read_to_its_usage(held: int) -> None:
    """What has come of an event by then is not lost for the bill."""
    tap = Tap("aws", "m", most_output=None, body_bytes=10)
    tap.run, tap.observed = Run(), converse()
    last = FRAMES[-1]
    tap.stream = Read(Parts(b"".join(FRAMES[:-1]) + last[:held], last[held:]), tap.observed, tap)
    async for _ in tap.stream:
        break

    await tap.aclose()

    assert tap.observed.reading().usage == {"input": 3, "output": 2}


@pytest.mark.parametrize("run", [None, Run])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
@pytest.mark.parametrize("left", [False, True])
async def test_a_last_event_that_has_no_end_is_read_to_its_usage(run: type[Run] | None, end: bytes, left: bool) -> None:
    """Its server closes the connection in place of a blank line. What stood in an event before was of a part."""
    tap = sent("global", "aiplatform.googleapis.com", query="?alt=sse")
    assert tap.observed is not None
    tap.observed.began(200, {"content-type": "text/event-stream"})
    tap.run = None if run is None else run()
    early = ANSWER | {"usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10}}
    whole = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (early, ANSWER))
    parts = (whole[:100], whole[100:-2] + end)
    tap.stream = Read(Parts(*parts), tap.observed, tap)
    given = b""
    async for data in tap.stream:
        given += data
        if left and tap.reason:
            await tap.aclose()
            break

    assert left or given == b"".join(parts)
    assert tap.observed.reading().usage["input"] == 1_000_000


@pytest.mark.parametrize(("whole", "cut"), [(4, False), (3, False), (2, True), (0, True)])
@pytest.mark.parametrize("run", [None, Run])
async def test_a_stream_that_does_not_say_its_end_was_cut(run: type[Run] | None, whole: int, cut: bool) -> None:
    """LiteLLM makes up an ordinary end for it."""
    tap = Tap("aws", "m", most_output=None, body_bytes=10)
    tap.run, tap.observed = None if run is None else run(), converse()
    tap.stream = Read(Parts(b"".join(FRAMES[:whole])), tap.observed, tap)

    assert not tap.cut  # as long as it goes on
    async for _ in tap.stream:
        pass

    assert tap.cut is cut


INVOKED = [
    aws_event_stream.encode("chunk", json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode())
    for event in (
        {"type": "message_start", "message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3, "outputTokenCount": 2}},
    )
]  # fmt: skip
LLAMAS = [
    aws_event_stream.encode("chunk", json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode()}).encode())
    for event in (
        {"generation": "Ze", "prompt_token_count": 21, "generation_token_count": 1, "stop_reason": None},
        {"generation": "bra", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": "stop"},
    )
]  # fmt: skip


@each_row("size", [1, 7, 10_000])
@each_row("cut_once", [True, False])
@each_row(
    ("kind", "frames", "usage", "source"),
    [
        ("converse-stream", FRAMES, {"input": 3, "output": 2}, "provider"),
        ("converse-stream", FRAMES[:2], {}, "none"),
        ("invoke-with-response-stream", INVOKED, {"input": 3, "cache_read": 7, "output": 2}, "provider"),
        ("invoke-with-response-stream", INVOKED[:2], {"input": 3, "cache_read": 7, "output": 1}, "partial"),
        ("invoke-with-response-stream", LLAMAS, {"input": 21, "output": 2}, "provider"),
        ("invoke-with-response-stream", LLAMAS[:1], {"input": 21, "output": 1}, "partial"),
    ],
)
def test_what_was_said_before_a_stream_broke_is_not_lost(
    size: int, cut_once: bool, kind: str, frames: list[bytes], usage: dict[str, int], source: str
) -> None:
    """All of it where the provider had told its end; else a part, beside which the text is counted."""
    observed = Observed("aws", f"https://bedrock.invalid/model/m/{kind}", "m", {})
    observed.began(200, {"content-type": aws_event_stream.CONTENT_TYPE.decode()})
    damaged = bytearray(FRAMES[0])
    damaged[-1] ^= 1
    whole, pieces = b"".join(frames) + damaged + FRAMES[-1], Pieces(aws_event_stream.CONTENT_TYPE.decode())
    for start in range(0, len(whole), size):
        part = whole[start : start + size]
        observed.feed(part, pieces.feed(part) if cut_once else None)

    reading = observed.reading()

    assert (reading.usage, reading.source) == (usage, source)


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("broken", [b"", b"no frame at all, and longer than one's head"])
def test_events_that_are_cut_once_are_read_as_bytes_are(size: int, broken: bytes) -> None:
    whole = b"".join(FRAMES[:2]) + broken + b"".join(FRAMES[2:])
    parts = [whole[start : start + size] for start in range(0, len(whole), size)]
    pieces, cut, fed = Pieces(aws_event_stream.CONTENT_TYPE.decode()), converse(), converse()
    for part in parts:
        cut.feed(part, pieces.feed(part))
        fed.feed(part)

    assert cut.reading() == fed.reading()
    assert bool(cut.reading().usage) is not bool(broken)
    assert cut.reason == fed.reason
