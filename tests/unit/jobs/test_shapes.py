"""A file's lines by their shapes: what they come to is never less than the sum of the lines, at any model, and little more."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ceilings import ceiling as ceilings
from proxy.dialects import gemini
from proxy.jobs.shapes import Shape, Shapes, rounded_up, shape_of, shapes_of
from proxy.types import Call, Route
from tests.support.media import png
from tests.support.rows import each_row

MODELS = ("gemini-2.5-flash", "gemini-3-pro-preview", "gemini-2.5-flash-image")
CONTEXT, MOST = 1_000_000, 65_536


def line(generator: random.Random) -> Call:
    parts: list[dict[str, Any]] = [{"text": "x" * generator.randrange(1, 9000)}]
    if generator.random() < 0.3:
        parts.append(
            {
                "inlineData": {
                    "mimeType": "image/png",
                    "data": base64.b64encode(png(generator.randrange(1, 900), 300)).decode(),
                }
            }
        )
    if generator.random() < 0.1:
        parts.append({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/a"}})
    config = {"maxOutputTokens": generator.randrange(1, 9000)} if generator.random() < 0.8 else {}
    if generator.random() < 0.2:
        config["candidateCount"] = generator.randrange(1, 5)
    body: dict[str, Any] = {"contents": [{"parts": parts}], "generationConfig": config}
    if generator.random() < 0.2:
        body["tools"] = [{"googleSearch": {}}]
    return gemini.parse_generate("m", False, json.dumps(body).encode())


def usage(call: Call, model: str, size: int) -> dict[str, int]:
    bound = ceilings.estimate(call, Route("", "up", "google", model), size, CONTEXT, MOST)
    return {**bound.usage, **{f"of which {unit}": tokens for unit, tokens in bound.media.items()}}


@each_row("model", MODELS)
@each_row("seed", range(4))
def test_shapes_come_to_what_their_lines_do(model: str, seed: int) -> None:
    calls = [line(random.Random(f"{seed} {number}")) for number in range(150)]
    shapes, exact = Shapes(), dict[str, int]()
    for call in calls:
        shapes.add(shape_of(call, call.size_bytes))
        for unit, tokens in usage(call, model, call.size_bytes).items():
            exact[unit] = exact.get(unit, 0) + tokens
    rounded: dict[str, int] = {}
    read = shapes_of(json.loads(json.dumps(shapes.record())))
    assert read is not None
    assert sum(count for count, _ in read) == len(calls) == shapes.lines
    for count, shape in read:
        for unit, tokens in usage(shape.call(model), model, 0).items():
            rounded[unit] = rounded.get(unit, 0) + count * tokens
    for unit in ("input", "output", "grounding"):
        assert exact.get(unit, 0) <= rounded.get(unit, 0) <= exact.get(unit, 0) * 1.2 + 200_000, unit


def test_no_file_has_many_shapes() -> None:
    shapes = Shapes()
    for number in range(1, 5000):
        shapes.add(shape_of(gemini.parse_generate("m", False, b'{"contents":[{}]}')._replace(output_caps=(number * 37 % 60_000 + 1,)),
                            number * 911))  # fmt: skip
    assert len(shapes.counts) <= 256
    assert sum(shapes.counts.values()) == shapes.lines == 4999
    assert len(json.dumps(shapes.record())) < 40_000


@given(st.integers(0, 2**60), st.integers(0, 6))
def test_numbers_are_rounded_up_by_little(number: int, digits: int) -> None:
    assert number <= rounded_up(number, digits) <= number + (number >> digits)


@pytest.mark.parametrize("record", [None, {}, {"lines": 3, "nanousd": 5}])
def test_what_is_no_files_has_no_shapes(record: Any) -> None:
    assert shapes_of(record) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 6))
def test_neither_text_nor_media_become_less(text: int, heard: int, digits: int) -> None:
    """Either may be the dearer."""
    shape = Shape(text + heard, None, 1, 1, (), (("audio_in", heard),), unknown=False).rounded(digits)
    ((_, rounded),) = shape.heard
    assert rounded >= heard
    assert shape.tokens - rounded >= text
