"""Whatever bytes come: a whole body, the same bytes as a stream in pieces, and `taximeter price` read the same of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pricing.usage import Reading
from proxy.cli import price_lines as price
from proxy.dialects import streams
from proxy.exchange.gate import StreamGate
from proxy.meters import Context, Reader, reader
from proxy.wire import lenient
from tests.support.examples import examples
from tests.support.odd_bytes import Odd, Recorded, dump, mutations, recorded, sse
from tests.support.rows import each_row

_SESSIONS = ("realtime", "realtime.transcription", "live", "voice")
ALL = [(one, odd) for one in recorded() for odd in mutations(one)]
# Sessions over WebSockets are no streams of events.
STREAMED = [(one, odd) for one, odd in ALL if one.streamed and not one.line["dialect"].endswith(_SESSIONS)]
FORMS = {"messages": streams.MESSAGES, "responses": streams.RESPONSES, "gemini": streams.GEMINI}
names = lambda value: value.name if isinstance(value, Recorded) else value.kind.replace(" ", "-")  # noqa: E731 - an id


def reader_of(one: Recorded) -> tuple[Reader, Context]:
    line = one.line
    found = reader(line["dialect"], line["provider"], line.get("endpoint", ""))
    # As the command line makes it: what the two are told beside the answer is the same.
    return found, price.check(line).context


def in_pieces(one: Recorded, body: bytes, pieces: list[bytes]) -> Reading:
    found, context = reader_of(one)
    form = next((form for name, form in FORMS.items() if name in one.line["dialect"]), streams.CHAT)
    gate = StreamGate(found, context, strip_usage=False, form=form)
    passed = b"".join([gate.feed(piece) for piece in pieces]) + gate.close()
    assert body.startswith(passed) or passed == body
    return gate.final_reading()


def offline(one: Recorded, body: bytes) -> dict[str, Any]:
    line = {name: value for name, value in one.line.items() if name not in ("events", "response", "usage")}
    read = price.read(price.check({**line, "response": body.decode("utf-8", "replace")}))
    return said(read)


def said(reading: Reading) -> dict[str, Any]:
    return {
        "usage": dict(reading.usage),
        "parts": reading.parts,
        "cost": reading.provider_cost_usd,
        "source": reading.source,
    }


@each_row(("one", "odd"), ALL, ids=names)
def test_what_is_not_touched_is_read_as_before(one: Recorded, odd: Odd) -> None:
    found, context = reader_of(one)
    if odd.same:
        before, after = found.answer(lenient.answer(one.body), context), found.answer(lenient.answer(odd.body), context)
        assert said(after) == said(before)


@pytest.mark.long
@each_row(("one", "odd"), ALL, ids=names)
def test_whole_and_offline_agree(one: Recorded, odd: Odd) -> None:
    found, context = reader_of(one)
    reading = found.answer(lenient.answer(odd.body), context)
    if reading.source != "none":
        assert offline(one, odd.body) == said(reading)
    else:
        assert offline(one, odd.body)["source"] in ("none", "estimated")


@each_row(("one", "odd"), STREAMED, ids=names)
def test_whole_and_streamed_agree(one: Recorded, odd: Odd) -> None:
    found, context = reader_of(one)
    whole = found.answer(lenient.answer(odd.body), context)
    assert said(in_pieces(one, odd.body, [odd.body[i : i + 97] for i in range(0, len(odd.body), 97)])) == said(whole)


ERROR = {"error": {"message": "upstream overloaded", "type": "server_error", "code": 503}}
BETWEEN = st.sampled_from(
    [sse([ERROR]), dump(ERROR), b"data: {\n\n", b"garbage\n\n", b": waiting\n\n", b"data: [DONE]\n\n"]
)


@examples(200)
@given(st.sampled_from(STREAMED), st.data())
def test_any_bytes_in_any_pieces_agree(pair: tuple[Recorded, Odd], data: st.DataObject) -> None:
    """Cut anywhere, with errors and garbage between events and any bytes put anywhere, handed over in any pieces."""
    one, odd = pair
    body = odd.body[: data.draw(st.integers(0, len(odd.body)))]
    for between in data.draw(st.lists(BETWEEN, max_size=2)):
        ends = [0, *(at + 2 for at in range(len(body)) if body.startswith(b"\n\n", at)), len(body)]
        at = data.draw(st.sampled_from(ends))
        body = body[:at] + between + body[at:]
    at = data.draw(st.integers(0, len(body)))
    body = body[:at] + data.draw(st.binary(max_size=4)) + body[at:]
    edges = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[a:b] for a, b in zip([0, *edges], [*edges, len(body)], strict=True)]
    found, context = reader_of(one)
    assert said(in_pieces(one, body, pieces)) == said(found.answer(lenient.answer(body), context))


@pytest.mark.parametrize("damage", [b"\x00", b"x", b"\xff", b"\n"])
def test_an_error_that_is_damaged_behind_what_it_says_is_that_error(damage: bytes) -> None:
    one, _ = STREAMED[0]
    found, context = reader_of(one)
    said_first = dump(ERROR)
    for at in range(len(said_first) + 1):
        body = said_first[:at] + damage + said_first[at:]
        assert said(in_pieces(one, body, [body])) == said(found.answer(lenient.answer(body), context))


GROQ = next(one for one in recorded() if one.name.startswith("groq.chat") and one.streamed)
TOOL = {"model": "groq/compound", "choices": [{"delta": {"executed_tools": [{"type": "search", "index": 0}]}}]}
TOLD = (sse([TOOL]), sse([TOOL, TOOL]), b"data: " + dump(TOOL), sse([[TOOL]]), sse([dump(TOOL).decode()]))
GARBAGE = (b"", b"garbage\n\n", b"data: {\n\n", b"\xff\xfe", b"{", b"data: [1]\n\n", b'data: "x"\n\n', b": waiting\n\n")
FAILED = (sse([ERROR]), dump(ERROR), b"event: error\n" + sse([ERROR]), sse([{"error": None}]))


@pytest.mark.long
@each_row("failed", FAILED)
@each_row("garbage", GARBAGE)
@each_row("told", TOLD)
def test_a_tool_and_garbage_and_an_error_read_the_same_in_any_order(told: bytes, garbage: bytes, failed: bytes) -> None:
    found, context = reader_of(GROQ)
    end = sse(GROQ.line["events"][-1:])
    for parts in {b"".join(parts) for parts in itertools.permutations((told, garbage, failed))}:
        for body in (parts, parts + end):
            whole = said(found.answer(lenient.answer(body), context))
            assert said(in_pieces(GROQ, body, [body[at : at + 7] for at in range(0, len(body), 7)])) == whole


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"data: {\n\n")
@example(b'{"a":' * 50)
@example(b"[" * 5000)
@example(b'"\\ud83d\\u"')
def test_no_bytes_break_it(body: bytes) -> None:
    answer = lenient.answer(body)
    reading = reader("openai.chat").answer(answer)
    assert reading.source in ("none", "provider", "partial")
    assert len(lenient.values_of(body)) >= 0
