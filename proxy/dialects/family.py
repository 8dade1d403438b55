"""What all paths of one vendor's API share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from pricing.values import frozen
from proxy.errors import Refusal


def _no_headers(refusal: Refusal) -> list[tuple[bytes, bytes]]:
    return []


@frozen
class Family:
    """`name` is the word of `upstreams.*.dialects`.

    stream_end: the last bytes of a stream that is cut, from why and the events before them.
    headers: sent to the upstream unless the client sends its own. request_headers: those of a client's that are passed on
    beside the ones that always are. answer_headers: those of an upstream's that a client gets beside the ones that it always
    gets.
    prefix: under which its paths stand here; "" for paths that stand as they are. refusal_headers: what a refusal says in
    headers.
    """

    name: str
    refusal_body: Callable[[Refusal], bytes]
    stream_end: Callable[[Refusal, Sequence[Any]], bytes]
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    request_headers: frozenset[bytes] = frozenset()
    answer_headers: frozenset[bytes] = frozenset()
    prefix: str = ""
    refusal_headers: Callable[[Refusal], list[tuple[bytes, bytes]]] = _no_headers
