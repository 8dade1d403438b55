"""The configuration: one frozen tree, checked whole at start and at every reload.

Loading and the checks across rows are in `configload.py`. Names are those of the YAML file; what each
means stands in README.md, the file's grammar in `configfile.py`.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pricing.operator import OperatorPrice, parse_rows

MAX_LIMIT_USD = 9_000_000  # Redis scripts count in doubles: exact to 2^53 nano-USD
ATTRIBUTES = ("key", "team", "user", "customer", "model", "upstream", "provider", "agent", "session")
LOCAL_PROVIDERS = frozenset({"local", "vllm", "llama.cpp", "llamacpp", "ollama", "sglang", "tensorrt-llm"})
_DIALECTS_BY_PROVIDER = {"anthropic": ("anthropic",), "google": ("gemini",), "local": ("openai", "anthropic")}

Dialect = Literal["openai", "anthropic", "gemini"]
Window = Literal["minute", "hour", "day", "week", "month", "total"]


def _money(value: Any) -> Decimal:
    """Decimal USD from an int, a string, or a YAML float (whose shortest form is what the person typed)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError('must be an amount in USD, such as "0.50"')
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f'{value!r} is not an amount in USD, such as "0.50"') from None
    if not amount.is_finite() or amount < 0:
        raise ValueError("must be a finite amount of at least 0")
    if amount > MAX_LIMIT_USD:
        raise ValueError(f"must be at most {MAX_LIMIT_USD:,} USD")
    if amount != amount.quantize(Decimal("1e-9")):
        raise ValueError("must not be finer than a nano-dollar (1e-9)")
    return amount


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; use a name such as Europe/Berlin") from None
    return name


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Usd = Annotated[Decimal, BeforeValidator(_money)]


def _webhook(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL")
    return url


Webhook = Annotated[str, AfterValidator(_webhook)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
PositiveInt = Annotated[int, Field(gt=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Section):
    host: str = "127.0.0.1"
    port: Port = 4100
    admin_host: str = "127.0.0.1"
    admin_port: Port = 4101
    admin_key: str | None = Field(None, min_length=1, repr=False)
    metrics_token: str | None = Field(None, min_length=1, repr=False)
    max_body_mb: Annotated[float, Field(gt=0, le=1024)] = 32
    max_inflight_mb: Annotated[float, Field(gt=0)] = 512
    max_connections: PositiveInt = 10_000
    header_timeout_s: Seconds = 10
    body_timeout_s: Seconds = 30
    max_head_kb: int = Field(
        64,
        ge=1,
        le=1024,
        strict=True,
        description="Size of a request's URL and headers together, in KiB; beyond it: 431.",
    )
    min_body_kb_per_s: float = Field(
        4,
        gt=0,
        description="Pace in KiB per second at which a body may take longer than body_timeout_s; slower ones get 408.",
    )
    write_timeout_s: Seconds = Field(
        30, description="Seconds without a byte read after which a client counts as gone, as if it had hung up."
    )
    max_calls_per_key: PositiveInt | None = Field(
        None,
        description="Calls in flight of one key in one data plane; more get 429. Without it a key may have four times as "
        "many as there is room for beside them, so that no key shuts out the others.",
    )
    budget_status: Literal[402, 429] = 402
    busy_wait_s: Seconds = 10
    drain_timeout_s: Seconds = 30
    max_call_s: PositiveInt = 3600  # a call that takes longer is charged at its ceiling first, and corrected later
    keepalive_comment_s: Seconds = 0
    session_quiet_s: PositiveInt = 900  # a session is measured when it has made no call for so long


class Upstream(_Section):
    base_url: str
    api_key: str | None = Field(None, repr=False)
    provider: str | None = None
    dialects: tuple[Dialect, ...] | None = None
    dialect: Dialect | None = None
    base_urls: dict[Dialect, str] = {}
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    max_connections: PositiveInt = 1000
    connect_timeout_s: Seconds = 5
    first_byte_timeout_s: Seconds = 600
    idle_timeout_s: Seconds = 300
    bills_after_disconnect: bool | None = None
    service_tier: Literal["default", "flex", "priority"] | None = None

    def provider_name(self, name: str) -> str:
        return self.provider or name

    def spoken(self, name: str) -> tuple[str, ...]:
        """The dialects that this host answers, by what is written here, else by its provider."""
        if self.dialects:
            return self.dialects
        if self.dialect:
            return (self.dialect,)
        by_provider = _DIALECTS_BY_PROVIDER.get(self.provider_name(name), ("openai",))
        return tuple(dict.fromkeys((*by_provider, *self.base_urls)))

    def bills_hung_up(self, name: str) -> bool:
        """Whether a call is billed to its end when its client has hung up: hosted providers do, local servers stop."""
        if self.bills_after_disconnect is not None:
            return self.bills_after_disconnect
        return self.provider_name(name) not in LOCAL_PROVIDERS


class Model(_Section):
    upstream: str
    model: str | None = None
    context_tokens: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    cap_trust: Literal["enforced", "ignored"] = "enforced"
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    fallbacks: tuple[str, ...] = ()


class Key(_Section):
    name: str = Field(min_length=1, max_length=200)
    key: str | None = Field(None, min_length=1, repr=False)
    key_sha256: str | None = Field(None, pattern=r"^[0-9a-fA-F]{64}$", repr=False)
    team: str | None = None
    user: str | None = None
    customer: str | None = None
    labels: dict[str, str] = {}
    models: tuple[str, ...] | None = None
    expires: datetime | None = None
    trust_labels: bool = False

    @property
    def key_id(self) -> str:
        """The hex SHA-256 of the secret: all that is kept of it."""
        if self.key_sha256:
            return self.key_sha256.lower()
        return hashlib.sha256((self.key or "").encode()).hexdigest()


class Budget(_Section):
    name: str = Field(min_length=1, max_length=200)
    match: dict[str, Names] = {}
    per: tuple[str, ...] = ()
    limit_usd: Usd | None = None
    limit_tokens: PositiveInt | None = None
    limit_requests: PositiveInt | None = None
    units: tuple[str, ...] = ()
    window: Window
    timezone: TimeZone = "UTC"
    action: Literal["block", "warn"] = "block"
    alert_at: tuple[Annotated[float, Field(gt=0, le=10)], ...] = (0.5, 0.8, 1.0)
    overrides: dict[str, Any] = {}
    clamp: bool = True
    ceiling: Literal["calibrated", "strict"] = "calibrated"
    on_store_down: Literal["deny", "allow"] = "deny"
    alert_webhook: Webhook | None = Field(None, repr=False)


class Loop(_Section):
    repeats: Annotated[int, Field(ge=2, strict=True)]
    within_s: Annotated[float, Field(gt=0)]


class Guards(_Section):
    max_requests: PositiveInt | None = None
    max_usd_per_minute: Usd | None = None
    loop: Loop | None = None


class AssumedPrice(_Section):
    """USD per million tokens of a model that has no price of its own."""

    input: Usd
    output: Usd


class Spool(_Section):
    mode: Literal["write", "fsync"] = "write"
    max_mb: PositiveInt = 4096
    keep_shipped_s: Annotated[int, Field(ge=0)] = 600  # of a PostgreSQL ledger; within max_mb


class Alerts(_Section):
    webhook: Webhook | None = Field(None, repr=False)


class Log(_Section):
    sample: Annotated[float, Field(ge=0, le=1)] = 1.0


class Config(_Section):
    server: Server = Server()
    upstreams: dict[str, Upstream] = {}
    models: dict[str, Model] = {}
    prices: tuple[Any, ...] = ()
    keys: tuple[Key, ...] = ()
    budgets: tuple[Budget, ...] = ()
    guards: Guards = Guards()
    session_guess: Literal["show", "enforce"] = "show"
    on_unpriced: Literal["refuse", "allow"] | AssumedPrice = "refuse"
    store: str = "memory"
    ledger: str = Field("sqlite:///taximeter.db", repr=False)
    ledger_retention_days: Annotated[int, Field(ge=0)] = 0
    data_dir: str = "./taximeter-data"
    spool: Spool = Spool()
    alerts: Alerts = Alerts()
    log: Log = Log()

    def operator_prices(self) -> tuple[OperatorPrice, ...]:
        return parse_rows(self.prices)[0]


def override_limit(budget: Budget, limit: Any) -> Decimal | int:
    """An override in the budget's own measure. Raises ValueError with what is wrong."""
    if budget.limit_usd is not None:
        return _money(limit)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0:
        raise ValueError("must be a whole number above 0")
    return limit
