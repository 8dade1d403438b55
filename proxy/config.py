"""The configuration: one frozen tree, checked whole at start and at every reload.

`load_config` gives a `Config` or raises `ConfigError` with *all* problems. Names are those of the YAML file; what each
means stands in README.md, the file's grammar in `configfile.py`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pricing.operator import OperatorPrice, parse_rows
from proxy.configfile import ConfigError, Expansion, Problem, load

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
    budget_status: Literal[402, 429] = 402
    busy_wait_s: Seconds = 10
    drain_timeout_s: Seconds = 30
    keepalive_comment_s: Seconds = 0


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
    alert_webhook: str | None = Field(None, repr=False)


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


class Alerts(_Section):
    webhook: str | None = Field(None, repr=False)


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


def load_config(path: Path | None, environ: Mapping[str, str]) -> tuple[Config, list[str]]:
    """The configuration at `path` and its warnings. Raises `ConfigError` with all problems."""
    return build(load(path, environ) if path else Expansion({}, [], []))


def build(expansion: Expansion) -> tuple[Config, list[str]]:
    """Check an expanded tree whole. Upstreams whose `api_key` is unset are left out, with the models that need them."""
    tree, problems, warnings = expansion.tree, list(expansion.problems), []
    for name, reason in expansion.left_out:
        warnings.append(f"upstream {name} is left out: {reason}")
        tree["upstreams"].pop(name, None)
        for model in [m for m, row in _rows(tree, "models") if row.get("upstream") == name]:
            del tree["models"][model]
            warnings.append(f"model {model} is left out with it")
            for row in tree["models"].values():
                if isinstance(row, dict) and isinstance(row.get("fallbacks"), list):
                    row["fallbacks"] = [name for name in row["fallbacks"] if name != model]
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [Problem(_path(item["loc"]), _message(item)) for item in error.errors(include_url=False)]
        raise ConfigError(problems) from None
    problems += _cross_checks(config)
    if problems:
        raise ConfigError(problems)
    return config, warnings + _weak_secrets(config)


def _weak_secrets(config: Config) -> list[str]:
    """Secrets that could be guessed: told, not refused, for many are made by others."""
    server = config.server
    secrets = [("server.admin_key", server.admin_key), ("server.metrics_token", server.metrics_token)]
    secrets += [(f"keys[{index}].key", key.key) for index, key in enumerate(config.keys)]
    return [
        f"{path} is short enough to be guessed; take at least 16 characters"
        for path, secret in secrets
        if secret and len(secret) < 16
    ]


def _rows(tree: Mapping[str, Any], section: str) -> list[tuple[str, Mapping[str, Any]]]:
    rows = tree.get(section)
    return [(k, v) for k, v in rows.items() if isinstance(v, dict)] if isinstance(rows, dict) else []


def _path(location: Sequence[str | int]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _message(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "is not a setting; check its spelling"
    if item["type"] == "missing":
        return "is required"
    return str(item["msg"]).removeprefix("Value error, ")


def _cross_checks(config: Config) -> list[Problem]:
    return [
        *_check_server(config),
        *_check_upstreams(config),
        *_check_models(config),
        *[Problem(problem.path, problem.message) for problem in parse_rows(config.prices)[1]],
        *_check_keys(config.keys),
        *_check_budgets(config.budgets),
        *_check_places(config),
    ]


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_server(config: Config) -> list[Problem]:
    server = config.server
    if server.admin_key or (is_loopback(server.host) and is_loopback(server.admin_host)):
        return []
    return [Problem("server.admin_key", "is required unless host and admin_host are both loopback addresses")]


def _check_upstreams(config: Config) -> list[Problem]:
    problems = []
    for name, upstream in config.upstreams.items():
        for path, url in [
            ("base_url", upstream.base_url),
            *((f"base_urls.{d}", u) for d, u in upstream.base_urls.items()),
        ]:
            parts = urlsplit(url)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or parts.query
                or parts.fragment
                or parts.username
            ):
                problems.append(Problem(f"upstreams.{name}.{path}", "must be http(s)://host[:port][/path] and no more"))
        if upstream.dialect and upstream.dialects:
            problems.append(Problem(f"upstreams.{name}.dialect", "is short for dialects; give one of the two"))
        for header, value in upstream.headers.items():
            if not header.replace("-", "").replace("_", "").isalnum() or not value.isprintable():
                problems.append(Problem(f"upstreams.{name}.headers.{header}", "is not a valid header"))
    return problems


def _check_models(config: Config) -> list[Problem]:
    problems = []
    for name, model in config.models.items():
        if model.upstream not in config.upstreams:
            known = ", ".join(config.upstreams) or "none"
            problems.append(
                Problem(f"models.{name}.upstream", f"{model.upstream!r} is not an upstream (there are: {known})")
            )
        if "*" in name[:-1]:
            problems.append(Problem(f"models.{name}", "may have a * only at its end"))
        problems += [
            Problem(f"models.{name}.fallbacks[{index}]", f"{fallback!r} is not a model")
            for index, fallback in enumerate(model.fallbacks)
            if fallback not in config.models
        ]
    return problems


def _check_keys(keys: Sequence[Key]) -> list[Problem]:
    problems = []
    names: set[str] = set()
    ids: set[str] = set()
    for index, key in enumerate(keys):
        if bool(key.key) == bool(key.key_sha256):
            problems.append(Problem(f"keys[{index}]", "needs exactly one of key and key_sha256"))
        elif key.key_id in ids:
            problems.append(Problem(f"keys[{index}].key", "is the same secret as another key's"))
        if key.name in names:
            problems.append(Problem(f"keys[{index}].name", f"{key.name!r} is another key's name"))
        names.add(key.name)
        ids.add(key.key_id)
    return problems


def known_attribute(name: str) -> bool:
    return name in ATTRIBUTES or (name.startswith("label.") and len(name) > len("label."))


def _check_budgets(budgets: Sequence[Budget]) -> list[Problem]:
    problems = []
    names: set[str] = set()
    for index, budget in enumerate(budgets):
        path = f"budgets[{index}]"
        if budget.name in names:
            problems.append(Problem(f"{path}.name", f"{budget.name!r} is another budget's name"))
        names.add(budget.name)
        limits = [
            limit for limit in (budget.limit_usd, budget.limit_tokens, budget.limit_requests) if limit is not None
        ]
        if len(limits) != 1:
            problems.append(Problem(path, "needs exactly one of limit_usd, limit_tokens and limit_requests"))
        if budget.units and budget.limit_tokens is None:
            problems.append(Problem(f"{path}.units", "goes with limit_tokens only"))
        for attribute in (*budget.match, *budget.per):
            if not known_attribute(attribute):
                what = f"one of {', '.join(ATTRIBUTES)} or label.NAME"
                problems.append(
                    Problem(
                        f"{path}.match" if attribute in budget.match else f"{path}.per", f"{attribute!r} is not {what}"
                    )
                )
        for attribute, patterns in budget.match.items():
            if any("*" in pattern[:-1] for pattern in patterns):
                problems.append(Problem(f"{path}.match.{attribute}", "may have a * only at the end of a value"))
        if budget.overrides and len(budget.per) != 1:
            problems.append(Problem(f"{path}.overrides", "needs a `per` with exactly one attribute"))
        problems += _check_overrides(budget, path)
    return problems


def _check_overrides(budget: Budget, path: str) -> list[Problem]:
    problems = []
    for value, limit in budget.overrides.items():
        try:
            override_limit(budget, limit)
        except ValueError as error:
            problems.append(Problem(f"{path}.overrides.{value}", str(error)))
    return problems


def override_limit(budget: Budget, limit: Any) -> Decimal | int:
    """An override in the budget's own measure. Raises ValueError with what is wrong."""
    if budget.limit_usd is not None:
        return _money(limit)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0:
        raise ValueError("must be a whole number above 0")
    return limit


def _check_places(config: Config) -> list[Problem]:
    problems = []
    if config.store != "memory":
        problems.append(Problem("store", "only `memory` is there yet; a store shared by several workers comes later"))
    if not config.ledger.startswith(("sqlite:///", "postgresql://", "postgres://")):
        problems.append(Problem("ledger", "must be sqlite:///FILE or postgresql://user:pw@host/db"))
    return problems
