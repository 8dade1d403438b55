"""The length of a recording, by its own headers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.meters.recordings import seconds_of
from tests.support import recordings as made


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (made.wave(2.5), Decimal("2.5")),
        (made.wave(2.5, hz=16_000, channels=2), Decimal("2.5")),
        (made.wave(2.5, stated=0xFFFFFFFF), Decimal("2.5")),  # a server that streams does not know
        (made.mp3(125), Decimal(3)),
        (made.mp3(125, tag=True), Decimal(3)),
        (made.mp3(125) + b"TAG" + b"\0" * 125, Decimal(3)),  # an ID3v1 tag behind it
        (made.aac(75), Decimal("3.2")),
        (made.flac(88_200), Decimal(2)),
        (made.opus(1.5), Decimal("1.5")),
        (made.vorbis(1.5), Decimal("1.5")),
    ],
    ids=[
        "wave",
        "stereo",
        "wave of unknown size",
        "mp3",
        "mp3 with tag",
        "mp3 with tag behind",
        "aac",
        "flac",
        "opus",
        "vorbis",
    ],
)
def test_a_recording_says_how_long_it_is(data: bytes, seconds: Decimal) -> None:
    assert seconds_of(data) == seconds


def test_samples_without_a_head_are_what_openai_calls_pcm() -> None:
    assert seconds_of(b"\0" * 96_000, raw=True) == 2


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"<html>", b'{"error": 1}', b"RIFF", b"OggS", b"fLaC", b"ID3", b"\xff"]
)
def test_what_is_no_recording_has_no_length(data: bytes) -> None:
    assert not seconds_of(data)


@given(
    st.sampled_from([made.wave(0.1), made.mp3(4), made.aac(4), made.flac(100), made.opus(1), made.vorbis(1)]), st.data()
)
def test_damaged_recordings_are_survived(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, min(len(data), 120)))
    damaged = data[:at] + draw.draw(st.binary(max_size=3)) + data[at:]
    seconds = seconds_of(damaged[: draw.draw(st.integers(0, len(damaged)))])
    assert seconds is None or seconds >= 0
