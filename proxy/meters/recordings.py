"""How long a recording is, by its own headers: for answers that are sound and say nothing of their usage.

Unlike a ceiling's bound this is the length itself, to the sample where the format says it; sizes in headers that a server
which streams cannot know (OpenAI's WAV says 4 GB) give way to the bytes that came. O(bytes), and nothing is decoded.
Formats: WAVE; MPEG audio (ISO/IEC 11172-3); AAC in ADTS (ISO/IEC 13818-7); FLAC (RFC 9639); Ogg (RFC 3533) with Opus
(RFC 7845) or Vorbis.
"""

from __future__ import annotations

import struct
from decimal import Decimal

_KBITS_1 = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KBITS_2 = {
    1: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_ADTS_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_ADTS_SAMPLES = 1024
_PCM_BYTES_PER_S = 48_000  # OpenAI's `pcm`: 24 kHz, 16 bit, one channel (developers.openai.com, text to speech)


def seconds_of(data: bytes, *, raw: bool = False) -> Decimal | None:
    """The length of a recording; None where it has no format that is known. raw: it is samples without a head."""
    if raw:
        return Decimal(len(data)) / _PCM_BYTES_PER_S if data else None
    data = memoryview(data)[_tag_bytes(data) :].tobytes()
    try:
        if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
            return _wave(data)
        if data[:4] == b"fLaC":
            return _flac(data)
        if data[:4] == b"OggS":
            return _ogg(data)
        return _frames(data)
    except struct.error:
        return None


def _tag_bytes(data: bytes) -> int:
    """The size of an ID3 tag before the recording (id3.org, v2.4 section 3.1)."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _wave(data: bytes) -> Decimal | None:
    at, bytes_per_s = 12, 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"fmt ":
            (bytes_per_s,) = struct.unpack_from("<I", data, at + 16)
        elif name == b"data":
            return Decimal(min(size, len(data) - at - 8)) / bytes_per_s if bytes_per_s else None
        at += 8 + size + size % 2
    return None


def _flac(data: bytes) -> Decimal | None:
    packed = int.from_bytes(data[18:26], "big")  # STREAMINFO: 20 bits of rate, 8 of others, 36 of samples
    hz, samples = packed >> 44, packed & 0xFFFFFFFFF
    return Decimal(samples) / hz if hz and samples else None


def _ogg(data: bytes) -> Decimal | None:
    """By the position that the last page states, in samples (Opus: of 48 kHz, less what is skipped at the beginning)."""
    first, last = data.find(b"OpusHead"), data.rfind(b"OggS")
    (position,) = struct.unpack_from("<q", data, last + 6)
    if first >= 0:
        (skipped,) = struct.unpack_from("<H", data, first + 10)
        return Decimal(max(position - skipped, 0)) / 48_000
    vorbis = data.find(b"\x01vorbis")
    if vorbis < 0:
        return None
    (hz,) = struct.unpack_from("<I", data, vorbis + 12)
    return Decimal(max(position, 0)) / hz if hz else None


def _frames(data: bytes) -> Decimal | None:
    """MPEG audio or ADTS: one frame after the other, to where they end."""
    at, by_rate = 0, dict[int, int]()
    while at + 7 <= len(data) and (frame := _frame(data, at)) is not None:
        size, samples, hz = frame
        by_rate[hz] = by_rate.get(hz, 0) + samples
        at += size
    return sum((Decimal(samples) / hz for hz, samples in by_rate.items()), Decimal(0)) if at else None


def _frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Bytes, samples and samples a second of the frame that begins there."""
    if data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    if data[at + 1] & 0xF6 == 0xF0:
        return _adts(data, at)
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    rate, hz = data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or layer == 4 or rate in (0, 15) or hz == 3:
        return None
    bits = 1000 * (_KBITS_1[layer] if version == 3 else _KBITS_2[min(layer, 2)])[rate]
    per_s, padding = _HZ[version][hz], data[at + 2] >> 1 & 1
    if layer == 1:
        return (12 * bits // per_s + padding) * 4, 384, per_s
    samples = 1152 if layer == 2 or version == 3 else 576
    return samples // 8 * bits // per_s + padding, samples, per_s


def _adts(data: bytes, at: int) -> tuple[int, int, int] | None:
    index = data[at + 2] >> 2 & 0xF
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    if index >= len(_ADTS_HZ) or size < 7:
        return None
    return size, _ADTS_SAMPLES * ((data[at + 6] & 3) + 1), _ADTS_HZ[index]
