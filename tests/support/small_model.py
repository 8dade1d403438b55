"""A model for llama.cpp that answers at once: four small layers of random weights, and SmolLM2's tokenizer and template out of its
GGUF file. What it writes makes no sense and never ends of its own accord: short English words, of a token each with any
tokenizer. It is counted as any model's is.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

# Types of a GGUF file's values (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, read 2026-11-29) and their sizes.
_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_F32, _Q8_0 = 0, 8  # of tensors; Q8_0 is 32 whole numbers of a byte with one scale before them, a half-precision float
_ALIGNED = 32
# As byte-level BPE writes a space before it.
_WORD = re.compile("\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}[a-z]{2,4}".encode())
_FREQUENT = 5000  # tokenizers have the frequent ones first

SMALL = "small"
"""The name that it is served under."""
CONTEXT_TOKENS = 32768
LAYERS, WIDTH, INNER, HEADS, KV_HEADS = 4, 64, 128, 2, 1
_CHANGED = {
    "llama.context_length": CONTEXT_TOKENS,
    "llama.block_count": LAYERS,
    "llama.embedding_length": WIDTH,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.rope.dimension_count": WIDTH // HEADS,
}


def write_small_model(weights: Path, to: Path) -> None:
    """weights: the GGUF file of a model of llama's architecture, whose tokenizer is kept."""
    with weights.open("rb") as source:
        magic, version, _, count = struct.unpack("<4sIQQ", source.read(24))
        assert (magic, version) == (b"GGUF", 3), f"{weights} is no GGUF file of version 3"
        values, tokens = [], list[bytes]()
        for name, kind, raw in _values(source, count):
            if name == "tokenizer.ggml.tokens":
                tokens = _texts(raw)
            content = struct.pack("<I", _CHANGED[name]) if name in _CHANGED else raw
            values.append(_string(name) + struct.pack("<I", kind) + content)
    tensors = _tensors(tokens)
    infos, data = b"", b""
    for name, shape, kind, content in tensors:
        infos += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(data))
        data += content + bytes(-len(content) % _ALIGNED)
    head = struct.pack("<4sIQQ", magic, version, len(tensors), count) + b"".join(values) + infos
    to.write_bytes(head + bytes(-len(head) % _ALIGNED) + data)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _values(source: BinaryIO, count: int) -> Iterator[tuple[str, int, bytes]]:
    """Name, type and the bytes of each of the file's values."""
    for _ in range(count):
        name = source.read(struct.unpack("<Q", source.read(8))[0]).decode()
        (kind,) = struct.unpack("<I", source.read(4))
        yield name, kind, _raw(source, kind)


def _raw(source: BinaryIO, kind: int) -> bytes:
    if kind == _STRING:
        size = source.read(8)
        return size + source.read(struct.unpack("<Q", size)[0])
    if kind == _ARRAY:
        head = source.read(12)
        inner, length = struct.unpack("<IQ", head)
        return head + b"".join(_raw(source, inner) for _ in range(length))
    return source.read(_SIZES[kind])


def _texts(array: bytes) -> list[bytes]:
    texts, at = [], 12  # behind the type and the length
    while at < len(array):
        end = at + 8 + struct.unpack_from("<Q", array, at)[0]
        texts.append(array[at + 8 : end])
        at = end
    return texts


def _tensors(tokens: list[bytes]) -> list[tuple[str, tuple[int, ...], int, bytes]]:
    """Name, shape, type and content of each."""
    draw = random.Random(2)

    def drawn(columns: int, rows: int) -> tuple[tuple[int, ...], int, bytes]:
        numbers = draw.randbytes(columns * rows)
        scale = struct.pack("<e", 1 / 128 / columns**0.5)
        return (columns, rows), _Q8_0, b"".join(scale + numbers[at : at + 32] for at in range(0, len(numbers), 32))

    norm: Any = ((WIDTH,), _F32, struct.pack(f"<{WIDTH}f", *[1.0] * WIDTH))
    keys = WIDTH // HEADS * KV_HEADS
    shapes = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, keys), "attn_v": (WIDTH, keys), "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (WIDTH, INNER), "ffn_up": (WIDTH, INNER), "ffn_down": (INNER, WIDTH),
    }  # fmt: skip
    shape, kind, drawn_rows = drawn(WIDTH, len(tokens))
    size = len(drawn_rows) // len(tokens)
    output = b"".join(
        drawn_rows[at * size : (at + 1) * size] if at < _FREQUENT and _WORD.fullmatch(text) else bytes(size)
        for at, text in enumerate(tokens)
    )
    tensors = [
        ("token_embd.weight", *drawn(WIDTH, len(tokens))),
        ("output_norm.weight", *norm),
        ("output.weight", shape, kind, output),
    ]
    for layer in range(LAYERS):
        tensors += [(f"blk.{layer}.{name}.weight", *norm) for name in ("attn_norm", "ffn_norm")]
        tensors += [(f"blk.{layer}.{name}.weight", *drawn(*shape)) for name, shape in shapes.items()]
    return tensors
