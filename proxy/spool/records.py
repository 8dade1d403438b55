"""The record: every row that a data plane appends to its spool. All that the ledger, budgets and metrics know stands here.

| record | written by | read by | a crash right after it |
|---|---|---|---|
| `open` | the writer, first in each segment | people | nothing had begun |
| `intent` | an attempt, before it reserves | pairing, the budget store | charged at its ceiling, `unconfirmed` |
| `waiting` | an attempt that has no room yet | pairing | nothing was reserved or sent: `void` |
| `reserved` | an attempt that got room, or less | pairing | charged at what it says, `unconfirmed` |
| `refused` | an attempt: a budget's or guard's no | pairing, metrics | the end: no entry |
| `void` | an attempt, surely never sent | pairing | the end: an entry that costs nothing |
| `settle` | an attempt, charged; whoever sees a job's end | pairing, metrics, stored ids, `jobs` | the end: its entry |
| `job` | an attempt whose provider has begun a job | pairing, `jobs` | it runs on: an entry `running` until its end |
| `expired` | whoever sweeps overdue reservations | pairing | the end: charged at its ceiling |
| `unused` | a session, whose reservation no turn used | pairing | the end: no entry, unless it may expire or has |
| `correction` | a report with `--apply`; a capacity | pairing | its entry is there, or comes with the next start |
| `tally` | `spool/tally`, once a second | metrics | the last second's counts are lost |
| `epoch` | each worker, when a shared store begins anew | the recorder | what stands before it is counted first |

Times are epoch microseconds, money is integer nano-USD, durations are milliseconds. A key that a version adds is
`NotRequired` for readers, since spools of earlier versions are still to be shipped; no key changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

VERSION = 1
"""Of the records, in each segment's `open`. A reader takes every version up to its own."""


class BudgetAmount(NamedTuple):
    """What an attempt takes from one budget's counter, in that budget's measure. A list of five in the record."""

    budget: str
    group: str
    window_start: int
    measure: str
    amount: int


Amounts = Sequence[Sequence[Any]]
"""`BudgetAmount`s as they stand in a record."""


class Open(TypedDict):
    t: Literal["open"]
    v: int
    run: str
    segment: int


class Intent(TypedDict):
    t: Literal["intent"]
    id: str
    request_id: str
    attempt: int
    started_at: int
    deadline_at: int
    dialect: str
    operation: str
    stream: bool
    upstream: str
    provider: str
    model_requested: str
    model: str
    key: str | None
    key_id: str
    team: str | None
    user: str | None
    customer: str | None
    labels: Mapping[str, str]
    untrusted_labels: Mapping[str, str]
    session_id: str
    session_source: str
    parent_session_id: NotRequired[str | None]
    root_session_id: str
    agent: NotRequired[str | None]
    parent_agent: NotRequired[str | None]
    client: str
    reserved_nanousd: int | None
    budgets: Amounts
    price_version: str
    traceparent: NotRequired[str]


class Waiting(TypedDict):
    t: Literal["waiting"]
    id: str


class Reserved(TypedDict):
    t: Literal["reserved"]
    id: str
    reserved_nanousd: int | None
    budgets: Amounts


class Refused(TypedDict):
    t: Literal["refused"]
    id: str
    at: int
    reason: str
    budget: str | None
    group: str | None
    window_start: int | None
    # Present: the store did not answer, so that the reservation may stand, and expire for whoever sweeps. Then the ledger has
    # an entry of this attempt, `void`, which says that it came to nothing.
    unanswered: NotRequired[bool]


class Unused(TypedDict):
    t: Literal["unused"]
    id: str
    at: int
    # Present in a second one: the store did not say that it was released, so that it has expired, or may. Then the ledger has
    # an entry of this attempt, as of one that was refused without an answer.
    intent: NotRequired[Intent]
    # Of a shared store, in which the reservation may stand although this process is gone; then a second one says that it was
    # released, where the store did. Where none comes, nobody knows.
    epoch: NotRequired[str]
    released: NotRequired[bool]


class Void(TypedDict):
    t: Literal["void"]
    id: str
    ended_at: int
    outcome: str
    epoch: NotRequired[str]


class Line(TypedDict):
    """One line of a cost; quantities and amounts are decimals as text."""

    unit: str
    quantity: str
    price_usd: str
    per: int
    cost_usd: str
    model: str | None
    source: str | None


class Settle(TypedDict):
    """`cost_nanousd` None: unpriced. An `unconfirmed` one has the ceiling as its cost, until it is known better.

    lease: the number of the run's report that tells the shared store of it (None where it was not granted out of a lease), and
    that of the last report that was heard."""

    t: Literal["settle"]
    id: str
    ended_at: int
    status: str
    outcome: str
    cost_nanousd: int | None
    cost_source: str
    usage_source: str
    http_status: NotRequired[int | None]
    model: NotRequired[str | None]
    service_tier: NotRequired[str | None]
    usage: NotRequired[Mapping[str, int | Decimal]]
    told_usage: NotRequired[Mapping[str, int | Decimal] | None]
    flags: NotRequired[Sequence[str]]
    budgets: NotRequired[Amounts]
    ttft_ms: NotRequired[float | None]
    duration_ms: NotRequired[float | None]
    overhead_ms: NotRequired[float | None]
    itl_ms_sum: NotRequired[float | None]
    itl_count: NotRequired[int]
    upstream_request_id: NotRequired[str | None]
    stored: NotRequired[Sequence[str]]
    stored_model: NotRequired[str]
    stored_facts: NotRequired[Mapping[str, Any]]
    cost_lines: NotRequired[Sequence[Line]]
    price_version: NotRequired[str | None]
    provider_cost_nanousd: NotRequired[int | None]
    epoch: NotRequired[str | None]
    lease: NotRequired[Sequence[int | None] | None]
    job: NotRequired[Mapping[str, Any]]


class JobBegun(TypedDict):
    """A job has begun at its provider. job: `proxy.jobs.job.Job`, with its INTENT as it was reserved."""

    t: Literal["job"]
    id: str
    at: int
    job: Mapping[str, Any]
    stored: NotRequired[Sequence[str]]
    stored_model: NotRequired[str]
    stored_facts: NotRequired[Mapping[str, Any]]


class Expired(TypedDict):
    t: Literal["expired"]
    id: str
    at: int
    epoch: str
    intent: Intent


class Correction(TypedDict):
    """An entry of the ledger, whole, that changes the sum of an earlier one."""

    t: Literal["correction"]
    row: Mapping[str, Any]
    budgets: Amounts


class Tally(TypedDict):
    """refusals: reason, budget, count; would_refuse: budget, count."""

    t: Literal["tally"]
    at: int
    refusals: Sequence[Sequence[Any]]
    would_refuse: Sequence[Sequence[Any]]


class Epoch(TypedDict):
    t: Literal["epoch"]
    epoch: str


End = Settle | Void
"""How an attempt ends that has an entry."""
