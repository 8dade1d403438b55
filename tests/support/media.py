"""Media made by hand: as small as their formats allow, and of any size that a test asks for."""

from __future__ import annotations

import base64
import struct
import zlib


def png(width: int, height: int, padding: int = 0) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)
        + bytes(4 + padding)
    )


def jpeg(width: int, height: int, *, before: bytes = b"", marker: int = 0xC0) -> bytes:
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 17, 8, height, width, 3)
    return b"\xff\xd8" + before + frame + bytes(64)


def segment(marker: int, size: int, fill: bytes = b"\0") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, size + 2) + (fill * size)[:size]


def gif(width: int, height: int, frame: tuple[int, int] | None = None) -> bytes:
    wide, high = frame or (width, height)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"!\xf9\x04" + bytes(4) + b"\0" + struct.pack("<BHHHHB", 0x2C, 0, 0, wide, high, 0) + bytes(8)


def webp(kind: bytes, width: int, height: int) -> bytes:
    if kind == b"VP8X":
        body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif kind == b"VP8L":
        body = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(8)
    else:
        body = bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(4)
    return b"RIFF" + struct.pack("<I", 30) + b"WEBP" + kind + struct.pack("<I", len(body)) + body


def bmp(width: int, height: int) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<Iii", 40, width, -height) + bytes(30)


def tiff(width: int, height: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHIHH", 256, 3, 1, width, 0) + struct.pack(order + "HHII", 257, 4, 1, height)
    return mark + struct.pack(order + "I", 8) + struct.pack(order + "H", 2) + entries + bytes(4)


def wav(seconds: int, rate: int = 16_000, code: int = 1, bits: int = 16, channels: int = 1) -> bytes:
    data = bytes(seconds * rate * channels * bits // 8)
    fmt = struct.pack("<HHIIHH", code, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", len(data)) + data  # fmt: skip


def mp3(frames: int, head: bytes = b"\xff\xfb\x90\x00") -> bytes:
    """Frames of 128 kbit/s at 44.1 kHz: 417 bytes, 26.1 ms."""
    return (head + bytes(413)) * frames


def adts(frames: int) -> bytes:
    """Frames of AAC at 44.1 kHz, 100 bytes each: 23.2 ms."""
    return (b"\xff\xf1\x50\x80" + struct.pack(">HB", 100 << 5 & 0xFFFF, 0xFC)[:3] + bytes(93)) * frames


def _page(packets: list[bytes], *, first: bool = False) -> bytes:
    table = b"".join(bytes([255] * (len(one) // 255) + [len(one) % 255]) for one in packets)
    head = b"OggS\0" + (b"\2" if first else b"\0") + bytes(20) + bytes([len(table)])
    return head + table + b"".join(packets)


def opus(packets: int, packet: bytes = b"\x78abc") -> bytes:
    """Packets of 20 ms in Ogg, fifty a page."""
    pages = [_page([b"OpusHead" + bytes(11)], first=True), _page([b"OpusTags" + bytes(8)])]
    pages += [_page([packet] * min(50, packets - begin)) for begin in range(0, packets, 50)]
    return b"".join(pages)


def webm(packets: int, packet: bytes = b"\x78abc", codec: bytes = b"A_OPUS") -> bytes:
    """As a browser records: neither the segment nor its clusters say how long they are."""
    unknown = b"\x01" + b"\xff" * 7
    track = b"\x86" + bytes([0x80 | len(codec)]) + codec
    tracks = b"\x16\x54\xae\x6b" + bytes([0x80 | len(track) + 2]) + b"\xae" + bytes([0x80 | len(track)]) + track
    block = b"\xa3" + bytes([0x80 | 4 + len(packet)]) + b"\x81\0\0\x80" + packet
    cluster = b"\x1f\x43\xb6\x75" + unknown + block * packets
    return b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67" + unknown + tracks + cluster


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


def m4a(seconds: int, *, kind: bytes = b"soun", codec: bytes = b"mp4a", frames: int | None = None) -> bytes:
    """AAC-LC at 44.1 kHz (a configuration of 0x1210), or a film of that length."""
    count = seconds * 44_100 // 1024 if frames is None else frames
    entry = codec + bytes(28) + _box(b"esds", bytes(4) + b"\3\x19" + bytes(3) + b"\4\x11" + bytes(13) + b"\5\2\x12\x10")
    stsd = _box(b"stsd", struct.pack(">III", 0, 1, len(entry) + 4) + entry)
    stbl = _box(b"stbl", stsd + _box(b"stsz", struct.pack(">III", 0, 0, count)))
    mdhd = _box(b"mdhd", struct.pack(">IIIII", 0, 0, 0, 1000, seconds * 1000) + bytes(12))
    hdlr = _box(b"hdlr", bytes(8) + kind + bytes(12))
    trak = _box(b"trak", _box(b"mdia", mdhd + hdlr + _box(b"minf", stbl)))
    mvhd = _box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 1000, seconds * 1000) + bytes(80))
    return _box(b"ftyp", b"M4A \0\0\0\0") + _box(b"moov", mvhd + trak) + _box(b"mdat", bytes(100))


def mp4(seconds: int) -> bytes:
    return m4a(seconds, kind=b"vide", codec=b"avc1", frames=seconds * 30)


def pdf(pages: list[str], *, packed: bool = True, also: bytes = b"") -> bytes:
    """A page for each text, in Helvetica. also: what stands among its objects besides."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = b" ".join(b"%d 0 R" % (3 + 2 * number) for number in range(len(pages)))
    objects.append(b"<< /Type /Pages /Count %d /Kids [ %s ] >>" % (len(pages), kids))
    for number, text in enumerate(pages):
        escaped = text.encode("latin-1").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        content = b"BT /F1 12 Tf 72 700 Td (" + escaped + b") Tj ET"
        body = zlib.compress(content) if packed else content
        objects.append(b"<< /Type /Page /Parent 2 0 R /Contents %d 0 R >>" % (4 + 2 * number))
        how = b"/Filter /FlateDecode " if packed else b""
        objects.append(b"<< " + how + b"/Length %d >>\nstream\n" % len(body) + body + b"\nendstream")
    written = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, body) for number, body in enumerate(objects, 1))
    return b"%PDF-1.7\n" + written + also + b"trailer << /Root 1 0 R >>\n%%EOF"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def data_url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64_of(data)}"
