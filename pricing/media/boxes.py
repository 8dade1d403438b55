"""How long an MP4, M4A or MOV lasts at most, by its boxes (ISO/IEC 14496-12 and -14).

A header's duration is what the file says of itself; what a decoder makes of it are its samples. Both are read, and the
longer one counts.
"""

from __future__ import annotations

import struct

from pricing.media.source import Source, UnreadableError

_HOLDING = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
_MOST_BOXES = 4096
_MOST_DEPTH = 8
# A frame of AAC is 1,024 samples of its core, whatever SBR makes of them (ISO/IEC 14496-3); 7,350 Hz is its lowest rate.
_SAMPLES_A_FRAME = 1024
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_LOWEST_RATE = 7350


class _Track:
    def __init__(self) -> None:
        self.frames = 0
        self.rate = _LOWEST_RATE
        self.kind = b""
        self.codec = b""


def is_boxes(head: bytes) -> bool:
    """Whether a file begins as these do."""
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


def most_seconds(source: Source) -> int | None:
    """Whole seconds, rounded up; None where the boxes do not say (a film in fragments, sound that is not AAC)."""
    try:
        return _Boxes(source).seconds()
    except (UnreadableError, struct.error):
        return None


class _Boxes:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._tracks: list[_Track] = []
        self._longest = 0
        self._boxes = 0
        self._in_fragments = 0  # frames, of whatever track
        self._strange = False

    def seconds(self) -> int | None:
        self._walk(0, len(self._source), 0)
        if self._strange or not self._tracks:
            return None
        seconds = self._longest
        for track in self._tracks:
            if track.kind == b"soun":
                if track.codec != b"mp4a":
                    return None
                frames = track.frames + self._in_fragments
                seconds = max(seconds, -(-frames * _SAMPLES_A_FRAME // track.rate))
            elif self._in_fragments:
                return None
        return seconds

    def _walk(self, at: int, end: int, depth: int) -> None:
        while at + 8 <= end and not self._strange:
            self._boxes += 1
            if self._boxes > _MOST_BOXES or depth > _MOST_DEPTH:
                self._strange = True
                return
            head = self._source.read(at, 16)
            if len(head) < 8:
                return
            size, name = struct.unpack(">I4s", head[:8])
            body = at + 8
            if size == 1:
                (size,) = struct.unpack(">Q", head[8:16])
                body = at + 16
            elif size == 0:
                size = end - at
            if size < body - at:
                self._strange = True
                return
            self._read(name, body, min(at + size, end), depth)
            at += size

    def _read(self, name: bytes, at: int, end: int, depth: int) -> None:
        if name == b"trun":
            self._in_fragments += int.from_bytes(self._source.read(at + 4, 4), "big")
        elif name in _HOLDING:
            if name == b"trak":
                self._tracks.append(_Track())
            self._walk(at, end, depth + 1)
        elif name in (b"mvhd", b"mdhd"):
            self._note_duration(self._source.read(at, 32))
        elif not self._tracks:
            return
        elif name == b"hdlr":
            self._tracks[-1].kind = self._source.read(at + 8, 4)
        elif name == b"stsz":
            (self._tracks[-1].frames,) = struct.unpack(">I", self._source.read(at + 8, 4))
        elif name == b"stsd":
            self._note_codec(self._source.read(at, min(end - at, 4096)))

    def _note_duration(self, body: bytes) -> None:
        scale, duration = struct.unpack(">IQ", body[20:32]) if body[:1] == b"\1" else struct.unpack(">II", body[12:20])
        unknown = duration in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
        if not scale or unknown:
            self._strange = True
        else:
            self._longest = max(self._longest, -(-duration // scale))

    def _note_codec(self, body: bytes) -> None:
        track = self._tracks[-1]
        (count,) = struct.unpack(">I", body[4:8])
        track.codec = body[12:16] if count == 1 else b"several"
        at = body.find(b"esds")
        config = body.find(b"\x05", at + 8 + 16) if at >= 0 else -1
        if config >= 0:
            # The decoder's configuration: a tag, its length (up to four bytes), five bits of kind, four of the rate.
            while body[config + 1 : config + 2] >= b"\x80":
                config += 1
            bits = int.from_bytes(body[config + 2 : config + 4], "big")
            kind, index = bits >> 11, bits >> 7 & 0xF
            if kind in (2, 5, 29) and index < len(AAC_RATES):
                track.rate = AAC_RATES[index]
