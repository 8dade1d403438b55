"""A stream whose events are alike but for a text is passed, read and known again as any other; less of it is held."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from proxy.dialects.streams import CHAT, GEMINI, MESSAGES, RESPONSES, StreamForm
from proxy.exchange import kept_stream
from proxy.exchange.gate import StreamGate
from proxy.exchange.kept_stream import KeptStream, alike
from proxy.meters import Context, reader
from proxy.wire import lenient
from tests.support.gates import fed

SECRET = b"sk-up-0123456789"
FORMS: list[tuple[str, StreamForm]] = [
    ("openai.chat", CHAT), ("anthropic.messages", MESSAGES), ("openai.responses", RESPONSES),
    ("gemini", GEMINI),
]  # fmt: skip
# None is the bare name of an end or of an error: a text that is one was read as if it said so, and no longer is.
TEXTS = [
    b"Hello", b" world", b"", b"a", b"usage", b"[DONE]", b"data: x", b"\xc3\xa4", b"\xc3", b"\xa4",
    rb"\n", rb"\"", b"\\\\", rb"\\\"", rb"\u00e4", rb"\ud83d", b'"', b'","usage":{"prompt_tokens":7},"x":"', b"\t", b"\r", b"\n",
    b"\n\ndata: [DONE]\n\ndata: ", b'"}}],"error":{"message":"m"},"y":[{"z":{"w":"', b"\\", SECRET, b'","type":"message_stop","x":"',
]  # fmt: skip
SHAPES = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}],"usage":null}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"%b"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":1,"delta":{"content":"%b"}}]}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"%b"}}\n\n',
    b'data: {"type":"response.output_text.delta","delta":"%b"}\n\n',
    b'data: {"choices":[{"delta":{"content":"%b"}}],"id":"\\"content\\":\\"\\""}\n\n',
    b'data: {"content":"%b"\n\n', b'data: {"content":"%b"}\r\n\r\n', b': {"content":"%b"}\n\n', b'{"content":"%b"}\n\n',
    b'data: {"type":"%b"}\n\n', b'data: {"error":{"content":"%b"}}\n\n', b'data: [{"content":"%b"}]\n\n',
    b'data: {"content":"%b"} {"content":""}\n\n', b'data: {"content":"%b"}\ndata:\n\n',
    b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"%b","content":"again "}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a\\nb","reasoning":"%b"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"","reasoning_content":"%b"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}],"usage":null,"obfuscation":"@word"}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}],"p":"@word"}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"%b"}@space}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"%b"} }\n\n',
    b'event: delta\ndata: {"type":"response.output_text.delta","sequence_number":@number,"delta":"%b","obfuscation":"@word"}\n\n',
    b'data: {"type":"response.output_text.delta","delta":"%b","sequence_number":@number}\n\n',
    b'data: {"sequence_number":@number,"p":"@word","delta":"%b","obfuscation":"@word"@space}\n\n',
    b'data: {"candidates":[{"content":{"parts":[{"text":"%b"}]}}],"usageMetadata":{"promptTokenCount":@number}}\r\n\r\n',
    b'event: x\r\ndata: {"delta":"%b"}\r\n\r\n', b'event: x\ndata: {"delta":"%b"}\r\n\r\n',
    b'data: {"obfuscation":"@word","sequence_number":@number@space}\n\n', b'data: {"delta":"%b","sequence_number":@number@space}\n\n',
]  # fmt: skip
FILLERS = {
    b"@word": [b"", b"aB3", b"xy", b'"', b'","obfuscation":"', b"\\", b"\n", b"\r", b"usage", SECRET, b'"}],"x":"'],
    b"@number": [
        b"0",
        b"7",
        b"12",
        b"345",
        b"007",
        b"1.5",
        b"",
        b"-1",
        b"1e3",
        b'3,"item_id":"m","delta":"x","sequence_number":4',
    ],
    b"@space": [b"", b" ", b"      ", b"\t", b',"error":{"message":"m"}'],
}
OTHERS = [
    b"data: [DONE]\n\n", b": waits\n\n",
    b'data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\n',
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n',
    b'data: {"type":"message_stop"}\n\n', b'data: {"error":{"message":"no"}}\n\n',
    b'data: {"type":"response.completed","response":{"object":"response","status":"completed","usage":{"input_tokens":1}}}\n\n',
]  # fmt: skip


def filled(event: bytes, chance: random.Random) -> bytes:
    for name, values in FILLERS.items():
        while name in event:
            usual = values[: 3 if name == b"@space" else 4]
            event = event.replace(name, chance.choice(usual if chance.random() < 0.97 else values), 1)
    return event


@contextmanager
def nothing_is_alike() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_stream, "alike", lambda _: None)
        yield


def stream(chance: random.Random) -> list[bytes]:
    shapes = chance.sample(SHAPES, chance.randrange(1, 4))
    texts = chance.sample(TEXTS, chance.randrange(1, 6))
    events = [
        filled(chance.choice(shapes), chance).replace(b"%b", chance.choice(texts))
        if chance.random() < 0.95
        else chance.choice(OTHERS)
        for _ in range(chance.randrange(30))
    ]
    if chance.random() < 0.5:
        return events  # a read each
    whole, reads = b"".join(events), []
    while whole:
        size = chance.randrange(1, 400)
        reads.append(whole[:size])
        whole = whole[size:]
    return reads


def what_becomes_of(reads: list[bytes], dialect: str, form: StreamForm) -> dict[str, Any]:
    gate = StreamGate(
        reader(dialect, ""), Context(), strip_usage=True, strip_each=True, before_done=lambda: b": cost\n\n", form=form,
        secrets=(SECRET,), redact=lambda block: block.replace(SECRET, b"***"),
    )  # fmt: skip
    passed = [fed(gate, read) for read in reads]
    so_far = bytes(gate.watch.kept), gate.watch.only_comments, gate.watch.so_far, gate.between_events
    passed.append(gate.finish(lambda: b"data: cut\n\n"))
    watch = gate.watch
    return {
        "passed": passed, "kept": so_far, "size": watch.kept.size, "events": watch.events, "share": watch.share_seen,
        "seen": watch.events_seen(), "turns": watch.answer_turns(), "ends": (gate.phase, gate.fault, gate.complete),
        "last": watch.last, "usage": watch.final_reading()[0].usage,
    }  # fmt: skip


@pytest.mark.long
def test_a_stream_of_events_that_are_alike_is_treated_as_any_other() -> None:
    chance = random.Random(7)
    for number in range(600):
        dialect, form = FORMS[number % len(FORMS)]
        reads = stream(chance)
        became = what_becomes_of(reads, dialect, form)
        with nothing_is_alike():
            before = what_becomes_of(reads, dialect, form)
        if b'"\n\ndata:' not in b"".join(reads).replace(b"\r\n", b"\n"):
            assert became["seen"] == lenient.answer(became["kept"][0]).readable, reads
        else:  # halves of events, of which a comma between makes one again
            del became["turns"], before["turns"]
        assert became == before, reads


def test_what_is_held_of_such_a_stream_is_its_texts() -> None:
    kept, events = KeptStream(), [SHAPES[0] % b"token" for _ in range(250)]
    assert not kept.took(events[0])  # nobody has looked at such a one
    kept.look_at(events[0])
    kept.add(events[0])
    assert all(kept.took(event) for event in events[1:200])
    kept.add(b"".join(events[200:]))  # several of one read

    assert bytes(kept) == b"".join(events)
    assert kept.size == len(bytes(kept))
    assert sum(len(held) for _, held in kept._parts) == 250 * len(b"token\n")
    assert kept.condensed() == SHAPES[0] % (b"token" * 250)


HIDDEN = [
    (SHAPES[19] % b"%b", [b"", b"aB3", b"Zz9xQ"]), (SHAPES[20], [b"abc", b"d"]), (SHAPES[21], [b" ", b"", b"    "]),
    (SHAPES[24], [b"9", b"10", b"11"]),
]  # fmt: skip


def test_what_hides_a_texts_length_or_counts_events_may_differ_too() -> None:
    for shape, fillers in HIDDEN:
        name = next(name for name in FILLERS if name in shape)
        events = [shape.replace(name, fillers[n % len(fillers)]) % b"t%d" % n for n in range(40)]
        kept = KeptStream()
        kept.look_at(events[0])
        kept.add(events[0])
        assert all(kept.took(event) for event in events[1:30]), shape
        kept.add(b"".join(events[30:]))
        assert bytes(kept) == b"".join(events)
        assert sum(len(held) for _, held in kept._parts) < 500
        assert kept.condensed() == shape.replace(name, fillers[0]) % b"".join(b"t%d" % n for n in range(40))


def test_a_value_that_is_missing_is_no_empty_one() -> None:
    for shape in (SHAPES[19], SHAPES[20], SHAPES[24]):
        event = filled(shape, random.Random(1)) % b"x"
        like = alike(event)
        assert like is not None
        kept = KeptStream()
        kept.look_at(event)
        for varied in (
            b"",
            b"x",
            b"1",
            b"\n",
            b"a\nb",
            b"1\nb",
            b"a\n1",
            b"a\rb",
            b"1\nx\r",
            like.between[0],
            like.between[0] * 2,
        ):
            odd = like.head + varied + like.tail
            kept.add(odd)
            assert kept.took(odd) is (varied == like.between[0] and "number" not in like.kinds), odd
        assert bytes(kept).count(b"a\nb") == 1


def test_texts_with_escapes_are_held_as_texts() -> None:
    kept, shape = KeptStream(), SHAPES[22]
    kept.look_at(shape % b"x")
    for text in (rb"{\"", rb"city\":", rb"\n", rb"\\", rb"\u00e4"):
        assert kept.took(shape % text), text
    for text in (b'"', b"\\", rb"\\\\" + b'"', rb"\x", b"\n"):
        assert not kept.took(shape % text), text


def test_no_more_than_a_megabyte_is_kept_and_what_comes_then_is_still_known() -> None:
    kept, event = KeptStream(), SHAPES[0] % (b"x" * 1000)
    kept.look_at(event)
    kept.add(event)
    while kept.size < kept_stream.MOST_BYTES:
        assert kept.took(event)
    size = kept.size
    assert kept.took(event)
    kept.add(event)
    assert kept.size == size == len(bytes(kept))


def test_streams_of_which_each_event_differs_in_more_are_not_looked_at_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, loads = [], orjson.loads  # each look parses once
    monkeypatch.setattr(orjson, "loads", lambda data: looks.append(data) or loads(data))
    for shapes in ([b'data: {"content":"%%b","created":%d}\n\n' % n for n in range(100)], SHAPES[:4:3] * 50):
        kept = KeptStream()
        for shape in shapes:
            event = shape % b"x"
            if not kept.took(event):
                kept.look_at(event)
                kept.add(event)
        assert len(looks) == 5
        assert bytes(kept) == b"".join(shape % b"x" for shape in shapes)
        looks.clear()


def test_servers_that_think_aloud_in_comments_are_looked_at_all_the_same() -> None:
    kept, event = KeptStream(), SHAPES[0] % b"x"
    for _ in range(20):
        kept.look_at(b": PROCESSING\n\n")
    kept.look_at(event)
    assert kept.took(event)


def test_nothing_but_a_text_of_the_answer_may_differ() -> None:
    for event in (b'data: {"type":"ping"}\n\n', b'data: {"choices":[{"finish_reason":"stop"}]}\n\n', b"data: text\n\n",
                  b'data: {"content":{"content":7}}\n\n', b'data: "content":"x"\n\n', b": \n\n", b"\n\n", b""):  # fmt: skip
        assert alike(event) is None, event
    like = alike(SHAPES[0] % b"x")
    assert like is not None
    assert orjson.loads(like.head[6:] + like.tail)["choices"][0]["delta"] == {"content": ""}
