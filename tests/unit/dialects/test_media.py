"""Bodies of images, audio and moderations: forms read strictly, and what they can cost at most."""

from __future__ import annotations

import math
import struct
from typing import Any

import orjson
import pytest

from proxy.dialects import media, pictures
from proxy.errors import Refusal, Refused
from proxy.wire import multipart
from proxy.wire.multipart import FormError, Part
from tests.support.rows import each_row

WAV = b"RIFF\x00\x00\x00\x00WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + bytes(160_000)


def form(*parts: Part) -> bytes:
    return multipart.encode(b"b0und", parts)


def field(name: str, value: str) -> Part:
    return Part(name, value.encode())


FILE = Part("file", WAV, b"a.wav", b"audio/wav")
IMAGE = Part("image", b"\x89PNG\r\n\x1a\n" + bytes(50), b"a.png", b"image/png")
MODEL = field("model", "m")


def transcription(*parts: Part) -> Any:
    return media.parse_transcription("audio.transcriptions", form(MODEL, FILE, *parts))


def refusal(parse: Any, raw: bytes) -> Refusal:
    with pytest.raises(Refused) as refused:
        parse(raw)
    assert refused.value.refusal.status == 400
    return refused.value.refusal


def test_a_form_is_written_as_it_was_read() -> None:
    raw = form(MODEL, FILE, field("prompt", "hé\r\nllo--b0un"), field("x[]", "1"), field("x[]", "2"))
    assert multipart.encode(b"b0und", multipart.parse(raw).parts) == raw


HEAD = b'--b\r\nContent-Disposition: form-data; name="a"'


@each_row(
    "raw",
    [
        b"", b"{}", b"--b\r\n", b"--b--\r\n", b"preamble\r\n" + HEAD + b"\r\n\r\nx\r\n--b--", HEAD + b"\r\n\r\nx",
        HEAD + b"\r\n\r\nx\r\n--b", HEAD + b"\r\n\r\nx\r\n--b--\r\nmore", HEAD + b"\r\n\r\nx\r\n--bb\r\n\r\n--b--",
        HEAD + b"; name=\"b\"\r\n\r\nx\r\n--b--", HEAD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--",
        HEAD + b"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nx\r\n--b--", HEAD + b"\r\nx\r\n--b--",
        b'--b\r\ncontent-disposition: form-data; name="a\\"b"\r\n\r\nx\r\n--b--', b"--b\r\nx: y\r\n\r\nx\r\n--b--",
        b'--b\r\ncontent-disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--', b"--b\r\n\r\nx\r\n--b--",
        HEAD + b"\r\ncontent-disposition: form-data; name=\"b\"\r\n\r\nx\r\n--b--",
        (HEAD + b"\r\n\r\nx\r\n") * 65 + b"--b--",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(raw: bytes) -> None:
    with pytest.raises(FormError):
        multipart.parse(raw)
    refusal(media.parse_edits, raw)


def test_the_routed_model_is_what_is_forwarded() -> None:
    call = transcription(field("language", "en"))
    parts = multipart.parse(media.encode_form(call, "real").written({})).parts
    assert parts == (field("model", "real"), FILE, field("language", "en"))


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ((MODEL,), "model"),
        ((FILE,), "file"),
        ((field("Model", "x"),), "model"),
        ((field("stream", "yes"),), "stream"),
        ((Part("stream", b"true", b"f"),), "stream"),
        ((field("base_url", "x"),), "base_url"),
        ((Part("prompt", b"\xff"),), "prompt"),
    ],
)
def test_priced_and_bounded_fields_of_forms_are_read_strictly(parts: tuple[Part, ...], param: str) -> None:
    raw = form(MODEL, FILE, *parts)
    assert refusal(lambda raw: media.parse_transcription("audio.transcriptions", raw), raw).param == param


@pytest.mark.parametrize(("value", "stream"), [("true", True), ("false", False)])
def test_switches_of_forms(value: str, stream: bool) -> None:
    assert transcription(field("stream", value)).stream is stream


@pytest.mark.parametrize("n", ["0", "11", "-1", "1.0", "\u0663", "x", ""])
def test_numbers_of_forms(n: str) -> None:
    assert refusal(media.parse_edits, form(MODEL, IMAGE, field("n", n))).param == "n"


def test_seconds_of_audio_are_bounded_by_its_bytes() -> None:
    assert media.most_seconds(WAV) == 12  # 10 s, rounded up, with its head
    assert media.most_seconds(b"ID3\4" + bytes(6) + b"OggS" + bytes(1596)) >= 100
    call = transcription()
    assert (call.quantities, call.hidden_tokens, call.opaque_bytes) == ({"audio_second": 12}, 384, len(WAV))


def test_an_image_is_bounded_by_its_size() -> None:
    def tokens(**changes: Any) -> Any:
        call = pictures.of_model(
            media.parse_images(orjson.dumps({"model": "m", "prompt": "p"} | changes)), "gpt-image-1.5"
        )
        return call.output_caps[0], call.sequences, dict(call.quantities)

    assert tokens(size="1024x1536", n=2) == (6144 + 256, 2, {"image": 2})
    assert tokens()[0] == tokens(size="auto")[0] == 16_640 + 256
    assert tokens(size="1024x1024", partial_images=3)[0] == 4096 + 4 * 256


@pytest.mark.parametrize(
    ("size", "tokens"),  # what OpenAI's calculator says of the best quality
    [
        ("1024x1024", 7024),
        ("1536x1024", 5488),
        ("1792x1024", 5063),
        ("3584x2048", 12_329),
        ("3840x2160", 13_342),
        ("2880x2880", 23_718),
    ],
)
def test_a_picture_of_a_later_model_is_not_as_many_tokens_as_it_has_squares(size: str, tokens: int) -> None:
    call = media.parse_images(orjson.dumps({"model": "m", "prompt": "p", "size": size}))
    assert tokens <= call.output_caps[0] - 256 <= max(1.1 * tokens, math.prod(map(int, size.split("x"))) / 256)


def test_frames_and_planning_are_bounded_too() -> None:
    def tokens(**changes: Any) -> int:
        body = {"model": "m", "prompt": "p", "size": "1024x1024", **changes}
        return media.parse_images(orjson.dumps(body)).output_caps[0]

    assert tokens(output_format="gif", frame_count=4) == 4 * tokens()
    assert tokens(output_format="gif") == tokens(frame_count=16) == 16 * tokens()
    assert tokens(complexity="low") == tokens() + 16_384
    form_call = media.parse_edits(form(MODEL, IMAGE, field("size", "1024x1024"), field("output_format", "gif")))
    assert form_call.output_caps[0] == 16 * tokens()
    assert media.parse_edits(form(MODEL, IMAGE, field("svg[model]", "m"))).unbounded


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 11),
        ("n", "2"),
        ("size", 5),
        ("partial_images", -1),
        ("stream", "x"),
        ("frame_count", 17),
        ("output_format", 1),
    ],
)
def test_fields_of_images_are_read_strictly(name: str, value: Any) -> None:
    assert refusal(media.parse_images, orjson.dumps({"model": "m", "prompt": "p", name: value})).param == name


def test_edited_images_are_counted_as_images_not_as_bytes() -> None:
    call = media.parse_edits(form(MODEL, IMAGE, IMAGE._replace(name="image[]"), field("prompt", "p"), field("n", "2")))
    assert (call.sequences, call.opaque_bytes, call.hidden_tokens) == (2, 2 * len(IMAGE.data), 2 * 8192)
    assert refusal(media.parse_edits, form(MODEL, field("prompt", "p"))).param == "image"


def test_speech_is_bounded_by_its_characters() -> None:
    call = media.parse_speech(orjson.dumps({"model": "m", "voice": "v", "input": "héllo"}))
    assert (dict(call.quantities), call.stream) == ({"character": 5}, False)
    assert refusal(media.parse_speech, orjson.dumps({"model": "m", "input": ["x"]})).param == "input"


def test_moderations_have_a_default_model() -> None:
    assert media.parse_moderations(b'{"input":"x"}').model == "omni-moderation-latest"
