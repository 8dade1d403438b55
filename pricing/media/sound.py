"""How long a recording lasts at most. Bills go by what a decoder makes of a file: its parts are looked at, not its head alone.

Formats: WAVE (fmt chunk), MPEG audio (ISO/IEC 11172-3 frame headers), Ogg (RFC 3533) with Opus (RFC 6716, section 3.1) or
Vorbis, FLAC (RFC 9639), MP4 (`boxes.py`). Of each, the lowest rate that what it holds can have bounds what is not understood.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

from pricing.media import boxes, matroska
from pricing.media.source import Source, UnreadableError

LEAST_BYTES_PER_S = 16  # silence in Opus: one small packet for each 120 ms; Matroska and ADTS put more round each
_UNKNOWN_BYTES_PER_S = 1
_LEAST_MP3_BYTES_PER_S = 1000  # 8 kbit/s is the format's lowest rate that is stated
_MOST_FRAMES = 100_000
_MOST_HEADS = 4096
# Of an Ogg file, packets that are looked at, and as how many of them a page counts: real ones have some 50 to a page, and a
# file may have ten million.
_MOST_PACKETS, _PAGE = 800_000, 8
_LONGEST_OPUS_US = 120_000
_MOST_WHOLE_BYTES = 32 * 1024 * 1024

# Codes of WAVE whose rate is what the head says, and bits of a sample where it does not say those: PCM, float, A-law, mu-law,
# the ADPCM of Microsoft and IMA.
_PCM = {1: 0, 3: 0, 6: 8, 7: 8, 2: 4, 0x11: 4}
_KBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_FREE_FORMAT = re.compile(rb"\xff[\xe2-\xff][\x00-\x0f]", re.DOTALL)
_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9][\x10-\xfe][\x00-\xae]", re.DOTALL)


def most_seconds(source: Source) -> int:
    """Whole seconds that a recording cannot exceed."""
    try:
        at = _after_tag(source)
        seconds = _seconds(source, at)
    except (UnreadableError, struct.error):
        seconds = None
    return seconds if seconds is not None else -(-len(source) // _UNKNOWN_BYTES_PER_S)


def _after_tag(source: Source) -> int:
    """Where the recording begins: decoders skip an ID3 tag (id3.org, v2.4 section 3.1), whatever follows it."""
    at = 0
    for _ in range(8):
        head = source.read(at, 10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if head[5] & 0x10 else 0)
        at += _zeros(source, at)
    return at


def _zeros(source: Source, at: int) -> int:
    """How many zero bytes stand there: padding that a tag may leave behind it."""
    count = 0
    while piece := source.read(at + count, 4096):
        kept = piece.lstrip(b"\0")
        count += len(piece) - len(kept)
        if kept:
            break
    return count


def _seconds(source: Source, at: int) -> int | None:
    head = source.read(at, 16)
    left = len(source) - at
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _wave(source, at)
    if head[:4] == b"OggS":
        return _ogg(source, at)
    if head[:4] == b"fLaC":
        return _flac(source, at)
    if boxes.is_boxes(head):
        stated = boxes.most_seconds(source) if at == 0 else None
        return stated if stated is not None else _at_rate(left, LEAST_BYTES_PER_S)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        stated = matroska.most_microseconds(source, at, opus_us)
        return -(-stated // 1_000_000) + 1 if stated is not None else _at_rate(left, LEAST_BYTES_PER_S)
    if head[:6] == b"#!AMR\n":
        return _at_rate(left, LEAST_BYTES_PER_S)
    for frame in (_adts, _frame):
        if frame(head) is not None:
            return _frames(source, at, frame)
    return None


def _at_rate(size: int, bytes_per_s: int) -> int:
    return -(-max(size, 0) // bytes_per_s) + 1


def _wave(source: Source, at: int) -> int | None:
    """By the rate that its `fmt ` chunk states, if what it holds is played at that."""
    place = at + 12
    for _ in range(64):
        name, size = struct.unpack("<4sI", source.read(place, 8))
        if name == b"fmt ":
            code, channels, per_s, _, _, bits = struct.unpack("<HHIIHH", source.read(place + 8, 16))
            if code == 0xFFFE:  # extensible: the code is the beginning of its GUID
                (code,) = struct.unpack("<H", source.read(place + 8 + 24, 2))
            if code not in _PCM:
                return _at_rate(len(source) - at, LEAST_BYTES_PER_S)
            rate = channels * per_s * (_PCM[code] or bits) // 8
            return _at_rate(len(source) - at, rate) if rate > 0 else None
        place += 8 + size + size % 2
    return None


_Frame = tuple[int, int, int]


def _frame(head: bytes) -> _Frame | None:
    """Bytes, samples and samples a second of the MPEG frame with that header; None where it is none, or of a free format."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    bits = _KBITS[(1, layer) if version == 3 else (2, min(layer, 2))][kbits] * 1000
    hz = _HZ[version][rate]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // hz + padding) * 4, 384, hz
    samples = 1152 if layer == 2 or version == 3 else 576
    return samples // 8 * bits // hz + padding, samples, hz


def _adts(head: bytes) -> _Frame | None:
    """The same of AAC in ADTS (ISO/IEC 13818-7): 1,024 samples for each block, and one block more than it says."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    index = head[2] >> 2 & 0xF
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if index >= len(boxes.AAC_RATES) or size < 7:
        return None
    return size, 1024 * ((head[6] & 3) + 1), boxes.AAC_RATES[index]


def _frames(source: Source, at: int, frame_of: Callable[[bytes], _Frame | None]) -> int:
    """Frames, one after the other; what cannot be followed counts at the lowest rate there is."""
    data = source.read(at, len(source))
    frames: dict[bytes, tuple[int, int] | None] = {}
    microseconds = place = 0
    for _ in range(_MOST_FRAMES):
        head = data[place : place + 7]
        try:
            step = frames[head]
        except KeyError:
            frame = frame_of(head)
            step = (max(frame[0], 4), -(-frame[1] * 1_000_000 // frame[2])) if frame is not None else None
            if len(frames) < _MOST_HEADS:
                frames[head] = step
        if step is None:
            break
        place += step[0]
        microseconds += step[1]
    rest = data[place:]
    # Frames of a free format have the mark and no rate, so that none is too low for them.
    free = frame_of(rest[:7]) is None and _FREE_FORMAT.search(rest) is not None
    rate = LEAST_BYTES_PER_S if free or frame_of is _adts else _LEAST_MP3_BYTES_PER_S
    return -(-microseconds // 1_000_000) + _at_rate(len(rest), rate)


def _ogg(source: Source, at: int) -> int | None:
    """The packets of Opus by what each says of its length, those of Vorbis at their longest."""
    microseconds = looked_at = 0
    packet_us = -1  # of Vorbis; 0: Opus; -1: not known yet
    end = len(source)
    while at < end:
        head = source.read(at, 27)
        if head[:4] != b"OggS" or len(head) < 27 or looked_at > _MOST_PACKETS:
            # Every byte of the rest may be an empty packet. Of Vorbis a stream with longer packets may follow.
            longest_us = max(packet_us, 1_000_000 // _UNKNOWN_BYTES_PER_S) if packet_us else _LONGEST_OPUS_US
            return -(-(microseconds + (end - at) * longest_us) // 1_000_000) + 1
        table = source.read(at + 27, head[26])
        at += 27 + len(table)
        size = sum(table)
        page = source.read(at, size)
        at += size
        if head[5] & 2:  # the first page of a stream says what it holds
            kind = _ogg_kind(page)
            if kind is None or packet_us not in (-1, kind):
                return None
            packet_us = kind
            continue
        if packet_us == -1:
            return None
        first, starts = 0, []
        for lacing, place in zip(table, accumulate(table), strict=True):
            if lacing < 255:
                starts.append(first)
                first = place
        starts += [first] if first < size else []
        looked_at += _PAGE + len(starts)
        if packet_us:
            microseconds += packet_us * len(starts)
        else:
            microseconds += sum([opus_us(page[start : start + 2]) for start in starts])
    return -(-microseconds // 1_000_000) + 1


def _ogg_kind(page: bytes) -> int | None:
    """Microseconds of a packet of Vorbis, 0 for Opus; None for anything else."""
    if page.startswith(b"OpusHead"):
        return 0
    if page.startswith(b"\x01vorbis") and len(page) >= 29:
        hz = int.from_bytes(page[12:16], "little")
        return -(-(1 << (page[28] >> 4)) * 1_000_000 // hz) if hz else None
    return None


@lru_cache(maxsize=4096)
def opus_us(packet: bytes) -> int:
    """Microseconds of an Opus packet, by its first bytes (RFC 6716, sections 3.1 and 3.2)."""
    if not packet:
        return _LONGEST_OPUS_US
    config, count = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (10_000, 20_000, 40_000, 60_000)[config & 3]
    elif config < 16:
        frame = (10_000, 20_000)[config & 1]
    else:
        frame = (2_500, 5_000, 10_000, 20_000)[config & 3]
    frames = 1 if count == 0 else 2 if count < 3 else packet[1] & 0x3F if len(packet) > 1 else 48
    return min(frame * frames, _LONGEST_OPUS_US)


def _flac_samples(head: bytes) -> int:
    """Samples of the frame that begins so, by RFC 9639, section 9.1; 0 where the header's own sum says that it is none."""
    code, rate, first = head[2] >> 4, head[2] & 0xF, head[4] if len(head) > 4 else 0
    at = 4 + (1 if first < 0x80 else 8 - (first ^ 0xFF).bit_length())  # the number of the frame, as UTF-8 does it
    more = 1 if code == 6 else 2 if code == 7 else 0
    end = at + more + (1 if rate == 12 else 2 if rate in (13, 14) else 0)
    if len(head) <= end or _crc8(head[:end]) != head[end]:
        return 0
    if more:
        return int.from_bytes(head[at : at + more], "big") + 1
    return 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8


def _crc8(data: bytes) -> int:
    total = 0
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = (total << 1 ^ 0x07) & 0xFF if total & 0x80 else total << 1
    return total


def _flac(source: Source, at: int) -> int | None:
    """Its frames: each begins with a mark and the size of its block, whatever the head says of the whole."""
    info = source.read(at + 4, 38)
    if len(source) - at > _MOST_WHOLE_BYTES or len(info) < 22 or info[0] & 0x7F:
        return None
    hz = int.from_bytes(info[14:18], "big") >> 12
    if not hz:
        return None
    data = source.read(at + 42, len(source) - at)
    samples = sum(_flac_samples(data[found.start() : found.start() + 16]) for found in _FLAC_FRAME.finditer(data))
    stated = int.from_bytes(info[17:22], "big") & 0xFFFFFFFFF
    return -(-max(samples, stated) // hz) + 1
