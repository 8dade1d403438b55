"""What all paths of one vendor's API share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.errors import Refusal


@dataclass(frozen=True, slots=True)
class Family:
    """`name` is the word of `upstreams.*.dialects`.

    headers: sent to the upstream unless the client sends its own. passed: of a client's headers, those that are passed on
    beside the ones that always are. told: of the upstream's, those that a client gets beside the ones that it always does.
    prefix: under which its paths stand here; "" for paths that stand as they are. refusal_headers: what a refusal says in
    headers.
    """

    name: str
    refusal_body: Callable[[Refusal], bytes]
    stream_end: Callable[[Refusal], bytes]
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    passed: frozenset[bytes] = frozenset()
    told: frozenset[bytes] = frozenset()
    prefix: str = ""
    refusal_headers: Callable[[Refusal], list[tuple[bytes, bytes]]] = lambda refusal: []
