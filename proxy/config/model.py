"""The configuration: one frozen tree, checked whole at start and at every reload.

A name's docstring is what a person reads of it: docs/configuration.md and the JSON Schema are made of these
(`python -m docs.generate`). Reading the file: `file.py`; what one row has to do with another: `checks.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pricing.operator import OperatorPrice, parse_rows
from pricing.values import frozen
from proxy.config.capacity import Capacity
from proxy.config.exports import Export
from proxy.config.fields import Name, Names, OrText, PositiveInt, Text, TimeZone, Usd, Webhook, Window, money
from proxy.config.plans import Plan
from proxy.config.rules import Section, before, within
from proxy.config.server import Server
from proxy.config.translation import Translator
from proxy.config.upstream import Upstream
from proxy.times import instant

ATTRIBUTES = ("key", "team", "user", "customer", "model", "upstream", "provider", "agent", "session")


@frozen
class Model(Section):
    upstream: str
    """Name of the upstream that serves it."""
    model: str | None = None
    """Name at the upstream; a trailing `*` stands for what the pattern's `*` stood for. Default: as requested."""
    context_tokens: PositiveInt | None = None
    """The model's context, input and output. Default: the price book's."""
    max_output_tokens: PositiveInt | None = None
    """The most that it writes. Default: the price book's."""
    cap_trust: Literal["enforced", "ignored"] = "enforced"
    """`ignored`: the upstream does not keep to output caps, so the context bounds a call, and a stream that passes what its
    budgets reserved (in events, or in 4 KiB for each token) is cut with an error."""
    hardware: Annotated[str, within(min_length=1, max_length=64)] | None = None
    """Hardware that it runs on, where that is what is billed (Replicate: `gpu-l40s`): the book's price of a second of it is the
    model's, unless `prices` has one.
    """
    retries: Annotated[int, within(ge=0, le=10)] = 0
    """Further tries at the same upstream, while the client has got no byte. Each is an attempt with its own entry."""
    fallbacks: tuple[str, ...] = ()
    """Models (of this section) to try after it; their own fallbacks are not followed."""
    answers: tuple[Text, ...] | None = None
    """Other models that may answer in its place, by the names that the upstream gives them: the dearest of all is reserved. An
    answer of any other is flagged `unexpected_model` and counted. `[]`: none but itself. Default: whichever answers, unflagged.
    """


@frozen
class Key(Section):
    name: Name
    """Name of the key in reports, budgets and logs; unique."""
    key: Text | None = field(default=None, repr=False)
    """The secret. Exactly one of `key` and `key_sha256`."""
    key_sha256: Annotated[str, within(pattern=r"^[0-9a-fA-F]{64}$")] | None = field(default=None, repr=False)
    """Hex SHA-256 of the secret, so that the file holds none."""
    team: str | None = None
    """Team that its calls belong to. Sessions and ids stored at providers are a team's."""
    user: str | None = None
    """User that its calls belong to."""
    customer: str | None = None
    """Customer that its calls belong to."""
    labels: dict[str, str] = field(default_factory=dict)
    """Labels of its calls, for reports and for `label.NAME` in budgets."""
    models: tuple[str, ...] | None = None
    """Models that it may use: exact names or trailing-`*` patterns. Default: all."""
    expires: Annotated[datetime, before(instant)] | None = None
    """Moment from which it is refused: `2027-01-31T00:00:00Z`. Without a zone it is UTC."""
    trust_labels: bool = False
    """Whether the client's own user, customer and labels count in budgets. Otherwise they are recorded only."""

    @property
    def key_id(self) -> str:
        """The hex SHA-256 of the secret: all that is kept of it."""
        if self.key_sha256:
            return self.key_sha256.lower()
        return hashlib.sha256((self.key or "").encode()).hexdigest()

    def owner(self) -> dict[str, str | None]:
        """The values of its own by which calls are counted."""
        return {"name": self.name, "team": self.team, "user": self.user, "customer": self.customer}


@frozen
class Opening(Section):
    usd: Usd
    """What was spent, in USD."""
    at: Annotated[datetime, before(instant)]
    """Until when. It counts in the window that this moment is in."""


@frozen
class Budget(Section):
    name: Name
    """The budget's identity: what it has spent stays with the name."""
    match: dict[str, Names] = field(default_factory=dict)
    """Which calls it counts: all of these attributes must hold, each a value, a list or a trailing-`*` pattern. Attributes:
    key, team, user, customer, model (as the client names it), upstream, provider, agent, session, label.NAME. Default: all.
    """
    per: tuple[str, ...] = ()
    """A counter of its own for each value of these attributes; calls without a value count in the group `(none)`."""
    limit_usd: Usd | None = None
    """Limit in USD, to nine decimals, at most 9,000,000. Exactly one of the three limits."""
    limit_tokens: PositiveInt | None = None
    """Limit in tokens."""
    limit_requests: PositiveInt | None = None
    """Limit in client calls; a retry is none."""
    units: tuple[str, ...] = ()
    """Token units that `limit_tokens` counts. Default: all of them."""
    window: Window = field(kw_only=True)
    """Calendar window after which it begins at 0 again; `total` never does. Weeks begin on Monday."""
    timezone: TimeZone = "UTC"
    """Time zone of the calendar."""
    action: Literal["block", "warn"] = "block"
    """`block`: calls that would pass the limit are refused. `warn`: they are counted and alerted."""
    alert_at: tuple[Annotated[float, within(gt=0, le=10)], ...] = (0.5, 0.8, 1.0)
    """Shares of the limit at which operators are alerted."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Other limits for some values of `per`, in the same measure; needs a `per` with one attribute."""
    opening: Opening | None = None
    """What was spent elsewhere before, of a budget with `limit_usd` and without `per`: it counts as if it were spent here."""
    clamp: bool = True
    """Whether a call's output cap may be lowered to what the money affords."""
    ceiling: Literal["calibrated", "strict"] = "calibrated"
    """`calibrated`: bounds on a call's input may rest on observed ratios and on a prompt cache's documented lifetime.
    `strict`: only on what is certain.
    """
    on_store_down: Literal["deny", "allow"] = "deny"
    """What happens to its calls while a shared budget store does not answer. `allow`: they go on and are counted later."""
    alert_webhook: Webhook | None = field(default=None, repr=False)
    """Where its alerts go in place of `alerts.webhook`."""


@frozen
class Loop(Section):
    repeats: Annotated[int, within(ge=2, strict=True), OrText]
    """How often the same request, or the same tool call in a row, is let through."""
    within_s: Annotated[float, within(gt=0)]
    """Time in which the same requests are counted."""


@frozen
class Guards(Section):
    max_requests: PositiveInt | None = None
    """Calls of one session."""
    max_usd_per_minute: Usd | None = None
    """Settled cost of one session within any 60 seconds."""
    loop: Loop | None = None
    """Stops a session that repeats itself."""


@frozen
class AssumedPrice(Section):
    """USD per million tokens of a model that has no price of its own."""

    input: Usd
    """USD per million input tokens."""
    output: Usd
    """USD per million output tokens."""


@frozen
class Spool(Section):
    mode: Literal["write", "fsync"] = "write"
    """`write`: records survive the process. `fsync`: they survive the machine; each call then waits for the disk."""
    max_mb: PositiveInt = 4096
    """Size of the spool, in MiB; beyond it new calls get 503 until the ledger has caught up."""
    keep_shipped_s: Annotated[int, within(ge=0)] = 600
    """With PostgreSQL: how long records stay after they were shipped, within `max_mb`, for a fail-over to a standby that
    lags behind.
    """


@frozen
class Jobs(Section):
    poll_s: Annotated[float, within(gt=0, le=86_400)] = 60
    """How often the provider of a job is asked that nobody asks for."""
    recheck_s: Annotated[float, within(gt=0)] = 86_400
    """How long after its end a job is asked for once more, where its provider may have given money back."""
    max_file_mb: PositiveInt = 512
    """Largest file that is uploaded, and largest batch in a body; it is passed on as it comes. Whole in memory is
    only a form whose file stands before its `purpose`, up to `server.max_body_mb`."""
    max_s: Annotated[int, within(gt=0, le=31 * 86_400, strict=True), OrText] = 172_800
    """Longest time that a job is expected to take. Later its reservation expires: it is charged at its ceiling,
    `unconfirmed`, still asked for, and corrected when it ends.
    """


@frozen
class Alerts(Section):
    webhook: Webhook | None = field(default=None, repr=False)
    """Where alerts are posted as JSON; Slack's incoming webhooks understand it. Default: nowhere."""


@frozen
class Log(Section):
    sample: Annotated[float, within(ge=0, le=1)] = 1.0
    """Share of the calls that are logged. Calls that did not go well always are."""


@frozen
class Config(Section):
    server: Server = Server()
    """The two planes: addresses, limits, time-outs."""
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    """Where calls go, by name."""
    models: dict[str, Model] = field(default_factory=dict)
    """What clients may ask for: an exact name, or a pattern with a trailing `*`; the longest that fits is taken."""
    prices: tuple[Any, ...] = ()
    """The operator's own prices: rows of `{provider, model, <unit>: price, …}`; see below."""
    keys: tuple[Key, ...] = ()
    """Virtual keys; more can be made at run time."""
    budgets: tuple[Budget, ...] = ()
    """What may be spent, by whom, in which time."""
    plans: tuple[Plan, ...] = ()
    """What customers pay, for `taximeter report margin`."""
    guards: Guards = Guards()
    """Limits of every session."""
    capacity: tuple[Capacity, ...] = ()
    """Machines of one's own, which cost by the hour whatever they do: what each call had of that is beside its price."""
    exports: tuple[Export, ...] = ()
    """Where the ledger's entries go besides: billing systems, files. At least once each, with an id that stays the same."""
    session_guess: Literal["show", "enforce"] = "show"
    """Whether a session that is only guessed from the conversation counts in budgets and guards (`enforce`) or is only
    shown (`show`).
    """
    on_unpriced: Literal["refuse", "allow"] | AssumedPrice = "refuse"
    """Calls to models without a price: refused, allowed (cost unknown; refused all the same under a budget in USD that
    blocks), or priced by an assumption (flagged `assumed_price`).
    """
    store: str = field(default="memory", repr=False)
    """Where budgets are counted: in the one data plane, or in Redis 7 (or Valkey) for several: `redis://host:6379/0`,
    `rediss://…` over TLS, `redis+sentinel://host:26379,host:26379/mymaster`. No Cluster.
    """
    store_lease_share: Annotated[float, within(ge=0, le=0.5)] = 0
    """With Redis: the most of a budget's limit that all data planes together may have taken ahead of need, so that most calls
    ask nobody, such as 0.02. 0: Redis is asked for every call.
    """
    store_timeout_s: Annotated[float, within(ge=0.01, le=10)] = 0.25
    """How long Redis may take to answer before it counts as down (`on_store_down`) until it is reached again."""
    ledger: str = field(default="sqlite:///taximeter.db", repr=False)
    """`sqlite:///FILE` or `postgresql://user:password@host/database`."""
    ledger_retention_days: Annotated[int, within(ge=0)] = 0
    """Days after which entries are deleted; their sums stay. 0: never."""
    data_dir: str = "./taximeter-data"
    """Folder of the spool and of what is learned; one running instance each, closed to other users."""
    spool: Spool = Spool()
    """The records on their way to the ledger."""
    translate: Translator = Translator()
    """The process that speaks providers' own APIs for callers of another dialect."""
    jobs: Jobs = Jobs()
    """Calls whose work goes on after their answer: batches, video, predictions."""
    alerts: Alerts = Alerts()
    """Who is told."""
    log: Log = Log()
    """What `serve` writes to its log."""

    def capacity_of(self) -> dict[str, str]:
        """By an upstream's name, the capacity whose cost its calls share."""
        return {upstream: row.name for row in self.capacity for upstream in row.upstreams}

    def operator_prices(self) -> tuple[OperatorPrice, ...]:
        return parse_rows(self.prices)[0]

    @property
    def translates(self) -> bool:
        """Whether any upstream needs the translator."""
        return any(upstream.translated() for upstream in self.upstreams.values())


class Loaded(NamedTuple):
    """A configuration that was read. names_none: its file names neither upstreams nor models."""

    config: Config
    warnings: Sequence[str]
    names_none: bool


def override_limit(budget: Budget, limit: Any) -> Decimal | int:
    """An override in the budget's own measure. Raises ValueError with what is wrong."""
    if budget.limit_usd is not None:
        return money(limit)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0:
        raise ValueError("must be a whole number above 0")
    return limit
