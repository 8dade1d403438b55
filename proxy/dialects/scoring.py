"""Texts that a local server (vLLM, llama.cpp) ranks, scores or pools: they are read, and nothing is written.

Shapes: vLLM, "Pooling models" (docs.vllm.ai); llama.cpp's server, `/v1/rerank`. Hosted rerankers bill by the search, in
formats of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from proxy.dialects import fields, references
from proxy.errors import invalid_request
from proxy.types import Call

_MAX_TEXTS = 2048
_FIELDS = {
    "rerank": (("query",), ("documents",)),
    "score": (("text_1", "queries", "data_1"), ("text_2", "items", "documents", "data_2")),
    "pooling": (("input",), ()),
}


def _parse(operation: str, raw: bytes) -> Call:
    body = fields.parse_object(raw)
    ones, others = _FIELDS[operation]
    fields.refuse_names(body, frozenset({"model", *ones, *others}))
    references.of(body, references.TOKENS)
    first, second = _texts(body, ones), _texts(body, others) if others else []
    return Call(
        dialect="openai.embeddings",
        operation=operation,
        model=fields.model_name(body),
        body=body,
        stream=False,
        size_bytes=len(raw),
        output_caps=(0,),
        sequences=max(len(first), 1) * max(len(second), 1),
        # A cross-encoder reads each pair, and so the first text with each of the second.
        hidden_tokens=sum(len(text.encode()) for text in first) * max(len(second) - 1, 0),
    )


def _texts(body: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """The texts under the one of these names that the body has."""
    present = [name for name in names if body.get(name) is not None]
    if len(present) != 1:
        raise invalid_request(f"Exactly one of {', '.join(names)} is needed.", names[0])
    value = body[present[0]]
    texts = [value] if isinstance(value, str) else value
    if (
        not isinstance(texts, list)
        or not 0 < len(texts) <= _MAX_TEXTS
        or not all(isinstance(one, str) for one in texts)
    ):
        raise invalid_request(f"`{present[0]}` must be a text or a list of up to {_MAX_TEXTS} texts.", present[0])
    return texts


parse_rerank, parse_score, parse_pooling = (partial(_parse, name) for name in _FIELDS)
