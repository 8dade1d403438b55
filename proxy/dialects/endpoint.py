"""What all paths that are proxied have to say of themselves; each has a line in `proxy/dialects/__init__.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from pricing.values import frozen
from proxy.dialects import fields, streams
from proxy.dialects.family import Family
from proxy.dialects.outgoing import Outgoing
from proxy.dialects.streams import StreamForm
from proxy.types import Call


@frozen
class Counting:
    """How providers of these names count an input themselves, free of charge: the request, and the field of their answer."""

    providers: frozenset[str]
    request: Callable[[Call, str], tuple[str, bytes]]
    field: str


def _nothing(call: Call) -> bool:
    return False


@frozen
class Endpoint:
    """One proxied path: how its body is parsed and written, and the path below the upstream's `base_url`.

    cap_output: the fields of a body that change when its output is capped at so many tokens, at a provider of that name.
    target: may hold `{model}`. queries: parts of the query string that are passed on, exactly as written here.
    holds: whether what the answer to this call says may be stored at the provider, and referred to later.
    of_headers: the call with what its headers say of it. of_model: with what the provider's model bills for it. quoted: the
    model stands in the path as one segment, whatever is in its name. local: only servers of one's own have it. translatable:
    the word of `upstreams.*.translate` for it; "" where nobody translates it.
    """

    family: Family
    operation: str
    target: str
    parse: Callable[[bytes], Call]
    cap_output: Callable[[Mapping[str, Any], int, str], Mapping[str, Any]]
    encode: Callable[[Call, str], Outgoing] = fields.encode
    form: StreamForm = streams.CHAT
    method: bytes = b"POST"
    queries: frozenset[str] = frozenset()
    holds: Callable[[Call], bool] = _nothing
    counting: tuple[Counting, ...] = ()
    local: bool = False
    quoted: bool = False
    of_headers: Callable[[Call, Mapping[bytes, bytes]], Call] | None = None
    of_model: Callable[[Call, str], Call] | None = None
    translatable: str = ""

    def counting_at(self, provider: str) -> Counting | None:
        """How this provider counts such a call's input, if it does."""
        return next((counting for counting in self.counting if provider in counting.providers), None)

    def target_of(self, model: str, query: bytes) -> str:
        """The path and query at the upstream."""
        target = self.target
        if "{" in target:
            target = target.replace("{model}", quote(model, safe="") if self.quoted else model)
        if not self.queries or not query:
            return target
        passed = [part for part in query.decode("latin-1").split("&") if part in self.queries]
        return f"{target}?{'&'.join(passed)}" if passed else target
