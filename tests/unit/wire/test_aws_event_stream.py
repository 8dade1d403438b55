"""AWS event streams: any split of the bytes gives the same messages, and damage is noticed."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from proxy.wire import aws_event_stream as aws
from tests.support.splitting import parts_of

MESSAGES = [("messageStart", b'{"role":"assistant"}'), ("contentBlockDelta", b"{}"), ("metadata", b'{"usage":{}}')]
AWS_STREAM = b"".join(aws.encode(*message) for message in MESSAGES)


@given(st.data())
def test_aws_messages_do_not_depend_on_the_split(data: st.DataObject) -> None:
    framer = aws.Framer()
    got = [message for part in parts_of(AWS_STREAM, data) for message in framer.feed(part)]
    assert got == [aws.Message(*message) for message in MESSAGES]
    assert got[-1].json == b'{"metadata":{"usage":{}}}'


@given(st.integers(0, len(AWS_STREAM) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(position: int, change: int) -> None:
    broken = bytearray(AWS_STREAM)
    broken[position] ^= change
    framer = aws.Framer()

    told = framer.feed(bytes(broken))

    assert framer.broken
    assert told == [aws.Message(*message) for message in MESSAGES][: len(told)]  # what stands before it is told
    assert sum(len(message.raw) for message in told) <= position
    assert b"".join(message.raw for message in told) + framer.rest() == broken
    assert framer.feed(AWS_STREAM) == []


@given(st.binary(max_size=200))
def test_garbage_is_noticed_or_waited_for(garbage: bytes) -> None:
    framer = aws.Framer()

    assert framer.feed(garbage) == []

    assert framer.broken or len(garbage) < 12


def test_other_header_types_are_passed_over() -> None:
    headers = b"\x04flag\x00" + b"\x03num\x04\x00\x00\x00\x01" + b"\x0b:event-type\x07\x00\x04chat"
    lengths = (16 + len(headers) + 2).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    head = lengths + zlib.crc32(lengths).to_bytes(4, "big") + headers + b"{}"
    assert aws.Framer().feed(head + zlib.crc32(head).to_bytes(4, "big")) == [aws.Message("chat", b"{}")]
