"""The short form of `make torture`'s event streams, and the model itself."""

from __future__ import annotations

import time

import pytest

from proxy.exchange.gate import StreamGate
from proxy.meters import Context, reader

from . import fuzz_sse


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata:b\r\rdata\r\n\r\n", [b"a", b"b", b""]),
        (b"\xef\xbb\xbfdata: a\ndata:  b\nid: 1\n\n", [b"a\n b"]),
        (b": note\n\nevent: x\n\ndata: 1", [b"1"]),
        (b"data: a\xe2\x80\xa8b\n\n", [b"a\xe2\x80\xa8b"]),
        (b" data: a\n\ndatas: b\n\n", []),
    ],
)
def test_the_model_reads_as_the_standard_says(stream: bytes, expected: list[bytes]) -> None:
    assert fuzz_sse.model(stream) == expected


@pytest.mark.parametrize("seed", range(2))
def test_mutated_streams_in_random_pieces_are_read_as_the_model_reads_them(seed: int) -> None:
    wrong = fuzz_sse.run(4000, seed)

    assert wrong.none, (wrong.events[:3], wrong.bytes_changed[:3], wrong.usage[:3])
    assert wrong.streams == 4000


def test_a_frame_of_50_megabytes_takes_linear_time() -> None:
    def seconds(megabytes: int) -> float:
        gate = StreamGate(reader("openai.chat", "openai"), Context(provider="openai"), strip_usage=True)
        piece = b"x" * 65_536
        began = time.process_time()
        gate.feed(b'data: {"choices":[],"filler":"')
        for _ in range(megabytes * 16):
            gate.feed(piece)
        gate.feed(b'"}\n\n')
        return time.process_time() - began

    seconds(1)
    small, large = min(seconds(6) for _ in range(3)), min(seconds(50) for _ in range(2))
    assert large < 30 * small  # 8 times the bytes; 70 times the time if it were quadratic
