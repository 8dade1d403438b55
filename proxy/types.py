"""The values that travel down one exchange. Frozen, no behaviour, no I/O. (Named tuples where a call makes several.)

Words are those of the glossary (proxy/README.md#glossary): a *call* is what the client sent, an *attempt* one try at one
upstream, an *identity* what the key says, an *attribution* what the call is counted under. Money is integer nano-USD
(`_nanousd`), times are seconds since the epoch (`_at`) or seconds (`_s`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from pricing.media.bounds import Medium
from pricing.values import NOTHING, Value, frozen
from proxy.wire.multipart import Form
from proxy.wire.written_list import WrittenList

_NO_LABELS: Mapping[str, str] = NOTHING
_NO_UNITS: Mapping[str, int] = NOTHING


@frozen
class Identity:
    """Who is calling, by the virtual key alone. `key` is the key's name, `key_id` the hex SHA-256 of its secret."""

    key_id: str
    key: str
    team: str | None = None
    user: str | None = None
    customer: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] | None = None
    expires_at: float | None = None
    trust_labels: bool = False

    @property
    def payer(self) -> str:
        """The team, or the key where it is in none: who learns from its own calls only."""
        return f"team:{self.team}" if self.team is not None else f"key:{self.key_id}"


@frozen
class Route:
    """Where a requested model goes: `upstream` names a configured host, `model` is the name that it knows; `answers` are others
    that may answer in its place, None: whoever likes."""

    requested: str
    upstream: str
    provider: str
    model: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    cap_trust: str = "enforced"
    retries: int = 0
    fallbacks: tuple[str, ...] = ()
    answers: tuple[str, ...] | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """All that are known to answer here, by the names that the upstream gives them."""
        return (self.model, *self.answers) if self.answers else (self.model,)


@frozen
class Call(Value):
    """One parsed request body. `body` is the only thing that is forwarded, re-serialised; what an attempt changes of it is put
    beside it (`dialects/outgoing.py`).

    least_output_tokens: below it an answer is not worth its input, and the call is refused instead of made smaller.
    media_items: inputs whose size their bytes do not bound (media, stored context). media: those of them that stand in
    fields of media, for which a formula may be known; the rest only the model's context bounds.
    prompts: messages or items, each of which a template adds tokens to. hidden_tokens: prompts that the provider adds.
    passes: how often the model may read its context, for tools that run on the provider's side. tool_calls: how many of
    their calls we allowed where the client did not say; they may be made fewer.
    extra: what is billed beside tokens (`web_search`: calls). quantities: what may be billed in place of tokens (`image`: 2).
    betas: of the provider's, that the client asks for in a header. beside_tokens: of each sequence, billed as output under
    no cap (a prediction that was wrong).
    fixed: conditions that only the caller can ask for (`speed`: `fast`). unbounded: why nothing bounds the cost, or "".
    free: the provider bills nothing. held: ids of what is stored at the provider. model "": that of the first of these.
    mentioned: ids that stand beside all that they stand for. urls: what the server that answers may fetch.
    form: the body as it came, where it is no JSON. opaque_bytes: of the body, whose tokens hidden_tokens counts.
    bounds: of a batch, what its lines come to (`proxy.jobs.bounds.Bounds`). kept_s: for so long the provider keeps what
    goes in, and bills that by token-hours. stored_tokens: what all stored context comes to, where that is known.
    heard: of a session's turn, tokens of its input that are no text, by unit; hidden_tokens has them too.
    units: in which its model is priced, where its API counts in those.
    words: of those that prices go by, the ones that stand in the body, as written; None: nobody has looked for them.
    tools: all that it brings, wherever they stand; None: they stand in `tools` alone, or have to be looked for.
    marks: a hash of each of its messages, keyed by a secret of the process; None: they have none. written: these as JSON.
    shape: what its plan depends on beside its size, its prompts and whether it streams, where that is little; else None.
    """

    dialect: str
    operation: str
    model: str
    body: dict[str, Any]
    stream: bool
    size_bytes: int
    output_caps: tuple[int, ...] = ()
    sequences: int = 1
    wants_usage: bool = True
    media_items: int = 0
    media: tuple[Medium, ...] = ()
    betas: tuple[str, ...] = ()
    beside_tokens: int = 0
    least_output_tokens: int = 1024
    prompts: int = 0
    hidden_tokens: int = 0
    passes: int = 1
    tool_calls: int = 0
    extra: Mapping[str, int] = _NO_UNITS
    quantities: Mapping[str, int] = _NO_UNITS
    fixed: Mapping[str, str] = _NO_LABELS
    unbounded: str = ""
    free: bool = False
    held: tuple[str, ...] = ()
    mentioned: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    form: Form | None = None
    opaque_bytes: int = 0
    bounds: Mapping[str, Any] | None = None
    heard: Mapping[str, int] = _NO_UNITS
    kept_s: int = 0
    stored_tokens: int = 0
    units: frozenset[str] = frozenset()
    shape: tuple[object, ...] | None = None
    words: frozenset[bytes] | None = None
    tools: tuple[dict[str, Any], ...] | None = None
    marks: Sequence[int] | None = None
    written: WrittenList | None = None


@frozen
class Attribution(Value):
    """What a call is counted under besides its identity. `session_source` says where the session id was found.

    budgeted_session_id: the session that budgets and guards count it in: the root, or the call's own where it was guessed.
    traceparent: the trace and the span that its caller says it is in (W3C), for exports.
    """

    session_id: str
    session_source: str
    root_session_id: str
    budgeted_session_id: str
    parent_session_id: str | None = None
    agent: str | None = None
    parent_agent: str | None = None
    user: str | None = None
    customer: str | None = None
    labels: Mapping[str, str] = _NO_LABELS
    untrusted_labels: Mapping[str, str] = _NO_LABELS
    client: str = "other"
    traceparent: str | None = None


@frozen
class Claim(Value):
    """What one call takes from one budget's counter while it is in flight.

    `amount` and `limit` are in the budget's own integer measure: nano-USD, tokens or requests. `window_start` is in
    epoch seconds (0 for `total`). A `hard` claim is refused where it does not fit; a soft one is only counted. With `least`,
    a reservation may be granted for less than `amount`, but not for less than that.
    """

    budget: str
    group: str
    window_start: int
    window_end: int | None
    limit: int
    amount: int
    measure: str = "usd"
    hard: bool = True
    clamp: bool = False
    least: int | None = None

    @property
    def smallest(self) -> int:
        """What is still worth having: less than `amount` only where the call can be made smaller."""
        return self.amount if self.least is None else self.least
