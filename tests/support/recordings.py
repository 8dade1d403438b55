"""Small recordings of silence, of a length that is known: heads as their formats have them, samples that nobody hears."""

from __future__ import annotations

import struct


def wave(seconds: float, *, hz: int = 24_000, channels: int = 1, stated: int | None = None) -> bytes:
    """PCM of 16 bits. stated: the sizes that the heads state, where a server did not know them."""
    samples = b"\0" * (int(seconds * hz) * channels * 2)
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, hz, hz * channels * 2, channels * 2, 16)
    size = len(samples) if stated is None else stated
    listed = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    data = head + listed + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", len(data) + 4 if stated is None else stated) + b"WAVE" + data


def mp3(frames: int, *, tag: bool = False) -> bytes:
    """MPEG 2, layer 3, 160 kbit/s at 24 kHz, as OpenAI's speech is: 576 samples a frame, 480 bytes."""
    frame = b"\xff\xf3\xe4\xc4" + b"\0" * 476
    return (b"ID3\x04\0\0\0\0\0\x0a" + b"\0" * 10 if tag else b"") + frame * frames


def aac(frames: int) -> bytes:
    """ADTS at 24 kHz: 1,024 samples a frame, here of 32 bytes."""
    return bytes([0xFF, 0xF1, 0x58, 0x80, 32 >> 3, (32 & 7) << 5 | 0x1F, 0xFC] + [0] * 25) * frames


def flac(samples: int, hz: int = 44_100) -> bytes:
    packed = hz << 44 | 0 << 41 | 15 << 36 | samples
    info = struct.pack(">HH", 4096, 4096) + b"\0" * 6 + packed.to_bytes(8, "big") + b"\0" * 16
    return b"fLaC" + bytes([0x80]) + len(info).to_bytes(3, "big") + info


def _page(position: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("<4sBBqIII", b"OggS", 0, flags, position, 1, 0, 0) + bytes([1, len(body)]) + body


def opus(seconds: float, skipped: int = 312) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, skipped, 24_000, 0, 0)
    return _page(0, head, 2) + _page(0, b"OpusTags") + _page(int(seconds * 48_000) + skipped, b"\0" * 20, 4)


def vorbis(seconds: float, hz: int = 22_050) -> bytes:
    head = b"\x01vorbis" + struct.pack("<IBIiiiB", 0, 1, hz, 0, 0, 0, 0xB8) + b"\x01"
    return _page(0, head, 2) + _page(int(seconds * hz), b"\0" * 20, 4)
