"""What a request to a provider must not ask for, and where it goes: that decides its price, and may be nowhere else."""

from __future__ import annotations

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
