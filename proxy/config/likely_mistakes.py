"""Settings that are valid but probably a mistake: reported as warnings, never refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from proxy.config.left_out import LeftOut
from proxy.config.model import Config
from proxy.config.wording import meant

_MUCH_DEARER = 5
_TERABYTE_MB = 1_000_000
_LONG_S = 1000
# What `fetch` refuses by itself, and so SDKs for Node and browsers (WHATWG, Fetch, "Port blocking", of those above 1023).
_PORTS_OF_NO_FETCH = frozenset({
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
})  # fmt: skip


_NOTHING = LeftOut()


def likely_mistakes(
    config: Config, now_s: float, left_out: LeftOut = _NOTHING, *, is_alone: bool = False
) -> Iterator[str]:
    """A warning a line, with its key path. left_out: what the file names too, which has a warning of its own.
    is_alone: it names neither upstreams nor models."""
    server = config.server
    if left_out.upstreams and not config.upstreams:
        yield "upstreams: none of them is left, so no call can go anywhere"
    elif is_alone:
        yield "upstreams: there is none, so `serve` takes the providers whose keys are set, else the small local model"
    elif not config.upstreams:
        yield "upstreams: there is none, so no call can go anywhere"
    elif not config.models and not left_out.models:
        yield "models: there is none, so every model is unknown (404); `'*': {upstream: NAME}` takes all"
    providers = {upstream.provider_name(name) for name, upstream in config.upstreams.items()} | set(config.upstreams)
    providers |= left_out.providers
    for index, row in enumerate(config.prices):
        provider = row.get("provider") if isinstance(row, dict) else None
        if isinstance(provider, str) and provider.rstrip("*") and not any(_fits(provider, name) for name in providers):
            near = meant(provider, providers)
            yield f"prices[{index}].provider: no upstream has the provider {provider!r}, so the row prices nothing{near}"
        if isinstance(row, dict):
            yield from _strange_factor(str(row.get("multiplier")), f"prices[{index}].multiplier")
    yield from _idle_budgets(config, left_out)
    yield from _strange_upstreams(config)
    yield from _strange_numbers(config)
    if server.max_inflight_mb < server.max_body_mb:
        yield "server.max_inflight_mb is less than server.max_body_mb: larger bodies are refused; give it several times that"
    yield from (
        f"server.{name}: browsers and Node's fetch never connect to port {port} (bad port); take another"
        for name, port in (("port", server.port), ("admin_port", server.admin_port))
        if port in _PORTS_OF_NO_FETCH
    )
    for path, secret in _secrets(config):
        if secret.lower().startswith("bearer "):
            yield f"{path}: begins with Bearer, which is no part of a key; write the key alone"
    for index, key in enumerate(config.keys):
        named = {*config.models, *left_out.models}
        strange = [name for name in key.models or () if not any(overlap(name, other) for other in named)]
        if strange and config.models:
            yield f"keys[{index}].models: {strange[0]!r} is not a model of this file{meant(strange[0], config.models)}"
        if key.expires is not None and key.expires.timestamp() <= now_s:
            yield f"keys[{index}].expires: is over already, so the key is refused"
    for name, model in config.models.items():
        if name in _reached(config, model.fallbacks):
            yield f"models.{name}.fallbacks: come back to {name} itself"


def _strange_upstreams(config: Config) -> Iterator[str]:
    for name, upstream in config.upstreams.items():
        yield from (
            f"upstreams.{name}.{path}: ends in {ending}, which is put behind it anyway; leave it out"
            for path, url in upstream.urls()
            for ending in ("/chat/completions", "/messages", "/responses")
            if url.rstrip("/").endswith(ending)
        )


def _secrets(config: Config) -> Iterator[tuple[str, str]]:
    """What is sent, or is expected, behind the word Bearer; with where it stands."""
    server = config.server
    secrets: list[tuple[str, str | None]] = [
        *((f"server.{name}", getattr(server, name)) for name in ("admin_key", "viewer_key", "metrics_token")),
        *((f"upstreams.{name}.api_key", upstream.api_key) for name, upstream in config.upstreams.items()),
        *((f"keys[{index}].key", key.key) for index, key in enumerate(config.keys)),
        *((f"exports[{index}].api_key", row.api_key) for index, row in enumerate(config.exports)),
    ]
    return ((path, secret) for path, secret in secrets if secret)


def _strange_factor(written: str, path: str) -> Iterator[str]:
    try:
        factor = Decimal(written)
    except InvalidOperation:
        return
    if factor == 0:
        yield f"{path}: 0 makes everything free"
    elif factor >= _MUCH_DEARER:
        yield f'{path}: {written} makes everything {written} times as dear; a discount of 20 % is "0.8"'


def _strange_numbers(config: Config) -> Iterator[str]:
    """What would be right in another unit."""
    server = config.server
    megabytes = {
        "server.max_inflight_mb": server.max_inflight_mb,
        "spool.max_mb": config.spool.max_mb,
        "jobs.max_file_mb": config.jobs.max_file_mb,
    }
    yield from (
        f"{path}: {number:.12g} megabytes are more than a machine has; if bytes are meant, {number / 2**20:.4g}"
        for path, number in megabytes.items()
        if number >= _TERABYTE_MB
    )
    seconds = {f"upstreams.{name}.connect_timeout_s": row.connect_timeout_s for name, row in config.upstreams.items()}
    seconds |= {f"server.{name}": getattr(server, name) for name in ("header_timeout_s", "busy_wait_s")}
    yield from (
        f"{path}: {number:.12g} seconds are {number / 60:.0f} minutes; if milliseconds are meant, {number / 1000:.12g}"
        for path, number in seconds.items()
        if number >= _LONG_S
    )
    yield from (
        f"budgets[{index}].alert_at: {max(budget.alert_at):g} is hardly ever reached, as the budget blocks at 1"
        for index, budget in enumerate(config.budgets)
        if budget.action == "block" and max(budget.alert_at, default=0) > 1
    )


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _reached(config: Config, names: tuple[str, ...]) -> set[str]:
    """All models that these fall back to, over any number of steps."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += config.models[name].fallbacks if name in config.models else ()
    return reached


def _idle_budgets(config: Config, left_out: LeftOut) -> Iterator[str]:
    """Budgets that nothing in the file could ever count in: a misspelt name makes a limit that does not hold."""
    known: dict[str, set[str]] = {
        "key": {key.name for key in config.keys},
        "team": {key.team for key in config.keys if key.team},
        "upstream": {*config.upstreams, *left_out.upstreams},
        "provider": {upstream.provider_name(name) for name, upstream in config.upstreams.items()} | left_out.providers,
        "model": {*config.models, *left_out.models},
    }
    yield from (
        f"budgets[{index}].match.{attribute}: nothing in this file has the {attribute} {pattern!r}; unless run-time keys do, "
        f"the budget limits nothing{meant(pattern, known[attribute])}"
        for index, budget in enumerate(config.budgets)
        for attribute, patterns in budget.match.items()
        if known.get(attribute)  # else they are all made at run time
        for pattern in patterns
        if not any(overlap(pattern, name) for name in known[attribute])
    )


def overlap(pattern: str, other: str) -> bool:
    """Whether two names, either of which may end in *, can mean the same."""
    if pattern.endswith("*") and other.endswith("*"):
        return pattern[:-1].startswith(other[:-1]) or other[:-1].startswith(pattern[:-1])
    if pattern.endswith("*"):
        return other.startswith(pattern[:-1])
    return pattern.startswith(other[:-1]) if other.endswith("*") else pattern == other
