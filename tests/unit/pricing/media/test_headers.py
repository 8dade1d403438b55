"""Sizes, durations and pages by headers: right where they are understood, unknown (never small) where they are not."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing.media import pdf, sound, video
from pricing.media.images import Size, image_size
from pricing.media.source import Encoded, Plain, UnreadableError
from tests.support import media
from tests.support.rows import each_row


@each_row(
    "data",
    [
        media.png(1920, 1080),
        media.jpeg(1920, 1080),
        media.jpeg(1920, 1080, before=media.segment(0xE1, 65_533) + media.segment(0xE2, 65_000) * 40, marker=0xC2),
        media.jpeg(1920, 1080, before=media.segment(0xE1, 100, media.jpeg(10, 10))),  # a preview in its EXIF
        media.jpeg(1920, 1080, before=b"\xff\xff\xff" + media.segment(0xFE, 3)),
        media.gif(1920, 1080),
        media.gif(1, 1, (1920, 1080)),
        media.webp(b"VP8 ", 1920, 1080),
        media.webp(b"VP8L", 1920, 1080),
        media.webp(b"VP8X", 1920, 1080),
        media.bmp(1920, 1080),
        media.tiff(1920, 1080),
        media.tiff(1920, 1080, ">"),
    ],
)
def test_the_size_of_a_picture(data: bytes) -> None:
    assert image_size(Plain(data)) == Size(1920, 1080)
    assert image_size(Encoded(media.base64_of(data))) == Size(1920, 1080)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        media.png(0, 10),
        media.png(10, 10)[:20],
        b"\xff\xd8\xff\xda" + bytes(100),
        b"\xff\xd8" + media.segment(0xE0, 10) * 2000,
        b"RIFF" + bytes(40),
        b"\0\0\0\x18ftypheic" + bytes(100),
        b"<svg width='1'/>",
    ],
)
def test_what_is_no_picture_has_no_size(data: bytes) -> None:
    assert image_size(Plain(data)) is None


@each_row("place", [0, 5, 30, 3000])
@each_row("odd", [" ", "\n", "-", "é", "\0"])
def test_base64_that_others_may_read_otherwise_has_no_size(odd: str, place: int) -> None:
    """A decoder that skips the character sees another picture than one that does not."""
    text = media.base64_of(media.jpeg(10, 10, before=media.segment(0xE1, 5000)))

    assert image_size(Encoded(text)) == Size(10, 10)
    assert image_size(Encoded(text[:place] + odd + text[place:])) is None


def test_a_header_is_read_without_what_follows_it() -> None:
    read = []

    class Counting(Encoded):
        def read(self, at: int, size: int) -> bytes:
            read.append(size)
            return super().read(at, size)

    assert image_size(Counting(media.base64_of(media.png(10, 10, 10**6)))) == Size(10, 10)
    assert sum(read) < 100


@given(st.binary(max_size=200), st.integers(0, 210), st.integers(0, 210))
def test_base64_read_in_part_is_the_same_part(data: bytes, at: int, size: int) -> None:
    assert Encoded(media.base64_of(data)).read(at, size) == data[at : at + size]
    assert len(Encoded(media.base64_of(data))) == len(data)


@given(st.binary(max_size=400))
def test_nothing_breaks_a_reader(data: bytes) -> None:
    for begin in (b"", b"\xff\xd8", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WAVE", b"OggS", b"fLaC\0", b"ID3", b"\xff\xfb\x90\x00", b"\0\0\0\x10ftyp", b"\x1a\x45\xdf\xa3", b"%PDF-1.4 1 0 obj stream\n"):  # fmt: skip
        source = Plain(begin + data)
        image_size(source)
        video.most_seconds(source)
        pdf.most_pages(begin + data)
        assert sound.most_seconds(source) >= 0


TEN_S = {
    "wav": media.wav(10),
    "a-law": media.wav(10, 8000, 6, 8),
    "float": media.wav(10, 48_000, 3, 32, 2),
    "mp3": media.mp3(383),
    "mp3 with a tag": b"ID3\4\0\0\0\0\2\0" + bytes(256) + media.mp3(383),
    "mp3 with padding": b"ID3\4\0\0\0\0\0\0" + bytes(5000) + media.mp3(383),
    "opus": media.opus(500),
    "opus behind a tag": b"ID3\4\0\0\0\0\0\0" + media.opus(500),
    "opus of 60 ms": media.opus(166, b"\x18abc"),
    "opus of six frames": media.opus(83, b"\x7b\x06abc"),
    "webm": media.webm(500),
    "aac": media.adts(430),
    "m4a": media.m4a(10),
    "m4a that understates itself": media.m4a(1, frames=430),
}


@each_row("name", TEN_S)
def test_a_recording_of_ten_seconds(name: str) -> None:
    assert 10 <= sound.most_seconds(Plain(TEN_S[name])) <= 13
    assert sound.most_seconds(Encoded(media.base64_of(TEN_S[name]))) == sound.most_seconds(Plain(TEN_S[name]))


@pytest.mark.parametrize(
    ("data", "least_s"),
    [
        (media.mp3(400, b"\xff\xfb\x00\x00"), 100_000),  # of a free format: no rate is stated
        (media.mp3(10) + media.mp3(400, b"\xff\xfb\x00\x00"), 10_000),
        (b"ID3\4\0\0\0\0\0\0" + b"unknown" * 1000, 7000),
        (b"FORM\0\0\0\0AIFF" + bytes(1000), 1000),
        (media.wav(10, 1, 1, 8), 10),  # a sample a second
        (media.wav(1, 16_000, 0x55), 1000),  # MP3 in WAVE
        (media.opus(50) + b"junk" * 400, 100),
        (media.webm(50, codec=b"A_FLAC"), 20),
        (media.m4a(1, codec=b"alac"), 20),
        (b"", 0),
    ],
)
def test_a_recording_that_is_not_understood_is_long(data: bytes, least_s: int) -> None:
    assert sound.most_seconds(Plain(data)) >= least_s


@pytest.mark.parametrize("size", [1000, 5000])
def test_a_recording_cut_anywhere_is_never_longer_than_its_bytes_allow(size: int) -> None:
    for name, data in TEN_S.items():
        cut = sound.most_seconds(Plain(data[:size]))
        assert cut <= size + 1, name


def test_a_film() -> None:
    assert video.most_seconds(Plain(media.mp4(12))) == 12
    assert video.most_seconds(Plain(media.mp3(10))) is None
    assert video.most_seconds(Plain(media.mp4(12)[:40])) is None


@pytest.mark.parametrize("packed", [True, False])
def test_pages_and_what_they_show(packed: bool) -> None:
    texts = ["The first page (of three).", "", "x" * 5000]

    found = pdf.most_pages(media.pdf(texts, packed=packed))

    assert found is not None
    assert found.pages == 3
    assert sum(map(len, texts)) <= found.text_tokens <= 1.1 * sum(map(len, texts)) + 30


FORM = b"90 0 obj << /Subtype /Form >> stream\n(again and again) Tj\nendstream endobj\n"
TWICE = b"91 0 obj << /Type /Pages /Kids [ 3 0 R 3 0 R ] >> endobj\n"


@pytest.mark.parametrize(
    "data",
    [
        b"no document",
        media.pdf(["x"], also=b"92 0 obj << /Encrypt 5 0 R >> endobj\n"),
        media.pdf(["x"], also=FORM),
        media.pdf(["x"], also=TWICE),
        media.pdf(["x"], also=b"93 0 obj << /Filter /LZWDecode >> stream\nxx\nendstream endobj\n"),
        media.pdf([]),
        media.pdf(["x" * (5 * 1024 * 1024)]),
    ],
)
def test_a_document_that_is_not_understood_has_no_bound(data: bytes) -> None:
    assert pdf.most_pages(data) is None


def test_a_page_that_is_drawn_by_a_stream_of_others_counts_it_again() -> None:
    shared = media.pdf(
        ["x" * 1000], also=b"".join(b"%d 0 obj << /Contents 4 0 R >> endobj\n" % n for n in range(50, 59))
    )

    found = pdf.most_pages(shared)

    assert found is not None
    assert found.text_tokens >= 10_000


def test_text_that_a_font_maps_to_more_counts_as_that() -> None:
    mapped = (
        b"60 0 obj << /Length 1 >> stream\n1 beginbfchar <01> <" + b"4e2d" * 20 + b"> endbfchar\nendstream endobj\n"
    )

    plain, wide = pdf.most_pages(media.pdf(["x" * 100])), pdf.most_pages(media.pdf(["x" * 100], also=mapped))

    assert plain is not None
    assert wide is not None
    assert wide.text_tokens >= 100 * 60


def test_a_text_that_is_no_base64_cannot_be_read() -> None:
    with pytest.raises(UnreadableError):
        Encoded("not base64!").read(0, 3)


_PACKED = zlib.compress(b"60 0 61 9 << /Type /Page >> << /Type /Page >>")
HIDDEN = {
    "names with escapes": b"50 0 obj << /Type /P#61ges /K#69ds [ 51 0 R 52 0 R ] /C#6funt 600 >> endobj\n",
    "kids by reference": b"50 0 obj << /Type /Pages /Kids 51 0 R >> endobj\n51 0 obj [ 3 0 R 3 0 R ] endobj\n",
    "a list in a comment": b"50 0 obj << /Type /Pages /Kids % here\n[ 51 0 R 52 0 R ] >> endobj\n",
    "a type behind a comment": b"50 0 obj << /Type % here\n/Page >> endobj\n",
    "a type by reference": b"50 0 obj << /Type 51 0 R >> endobj\n51 0 obj /Page endobj\n",
    "a filter by reference": b"50 0 obj << /Filter 51 0 R >> stream\n" + zlib.compress(b"(x) Tj") + b"\nendstream endobj\n",
    "the end of a stream in its text": b"50 0 obj << /Length 99 >> stream\n(endstream) Tj (" + b"x" * 99 + b") Tj\nendstream endobj\n",
    "the end of an object in its text": b"50 0 obj << /X (endobj) /Type /ObjStm /Filter /FlateDecode >> stream\n"
    + _PACKED + b"\nendstream endobj\n",
}  # fmt: skip


@pytest.mark.parametrize("how", HIDDEN)
def test_pages_that_a_viewer_finds_and_this_reader_does_not_leave_a_document_unbounded(how: str) -> None:
    assert pdf.most_pages(media.pdf(["x"], also=HIDDEN[how])) is None


def test_a_font_whose_name_is_spelt_with_escapes_is_nothing_odd() -> None:
    font = b"50 0 obj << /Type /Font /BaseFont /ABCDEF+Times#20New#20Roman,Bold >> endobj\n"
    assert pdf.most_pages(media.pdf(["x"], also=font)) == pdf.most_pages(media.pdf(["x"]))


def test_pages_between_objects_count() -> None:
    found = pdf.most_pages(
        media.pdf(["x"], also=b"50 %\n0 obj << /Type /Page >> endobj\n51 %\n0 obj << /Type /Page >> endobj\n")
    )
    assert found is not None
    assert found.pages == 3


def test_of_a_file_of_packets_without_end_the_rest_counts_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"OggS\0\2" + bytes(20) + b"\1\x08OpusHead"
    page = b"OggS\0\0" + bytes(20) + b"\xc8" + b"\1" * 200 + b"\xfc" * 200  # of 20 ms each
    exact = sound.most_seconds(Plain(head + page * 50))
    assert 200 <= exact <= 201
    monkeypatch.setattr(sound, "_MOST_PACKETS", 1000)
    assert sound.most_seconds(Plain(head + page * 50)) >= exact
    looked_at: list[bytes] = []

    def counted(packet: bytes) -> int:
        looked_at.append(packet)
        return 20_000

    monkeypatch.setattr(sound, "opus_us", counted)
    sound.most_seconds(Plain(head + page * 50))
    assert len(looked_at) <= 1200


def _ogg_page(begins: bool, packets: list[bytes]) -> bytes:
    return b"OggS\0" + bytes([2 * begins]) + bytes(20) + bytes([len(packets), *map(len, packets)]) + b"".join(packets)


# 1.024 s a packet
_SLOW_VORBIS = b"\x01vorbis" + bytes(4) + b"\1" + (8000).to_bytes(4, "little") + bytes(12) + b"\xdd\1"


@pytest.mark.parametrize(
    ("head", "packets"),
    [(_SLOW_VORBIS, [b"\0"] * 255), (b"OpusHead", [b"\x19"] * 255), (b"OpusHead", [b""] * 255)],
    ids=["silence in Vorbis", "silence in Opus", "nothing in Opus"],
)
def test_the_rest_of_an_ogg_file_is_never_taken_for_shorter_than_it_may_be(
    monkeypatch: pytest.MonkeyPatch, head: bytes, packets: list[bytes]
) -> None:
    head, page = _ogg_page(True, [head]), _ogg_page(False, packets)
    exact = sound.most_seconds(Plain(head + page * 50))
    assert exact > 50 * 255 * 0.12 - 1
    assert sound.most_seconds(Plain(head + page + b"\0" + page * 49)) >= exact  # decoders look for the next page
    monkeypatch.setattr(sound, "_MOST_PACKETS", 1000)
    assert sound.most_seconds(Plain(head + page * 50)) >= exact
