"""Settings that are valid but probably a mistake: reported as warnings, never refused. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.model import Config
from proxy.config.without_file import names_none
from proxy.config.wording import meant


def likely_mistakes(config: Config, now_s: float) -> Iterator[str]:
    """A warning a line, with its key path."""
    server = config.server
    if server.port and server.port == server.admin_port and server.host == server.admin_host:
        yield "server.admin_port is server.port too: the second to listen will find it taken; give each its own"
    if names_none(config):
        yield "upstreams: there is none, so `serve` takes the providers whose keys are set, else the small local model"
    elif not config.upstreams:
        yield "upstreams: there is none, so no call can go anywhere"
    elif not config.models:
        yield "models: there is none, so every model is unknown (404); `'*': {upstream: NAME}` takes all"
    providers = {upstream.provider_name(name) for name, upstream in config.upstreams.items()} | set(config.upstreams)
    for index, row in enumerate(config.prices):
        provider = row.get("provider") if isinstance(row, dict) else None
        if isinstance(provider, str) and provider.rstrip("*") and not any(_fits(provider, name) for name in providers):
            near = meant(provider, providers)
            yield f"prices[{index}].provider: no upstream has the provider {provider!r}, so the row prices nothing{near}"
        if isinstance(row, dict) and str(row.get("multiplier")) in ("0", "0.0"):
            yield f"prices[{index}].multiplier: 0 makes everything free"
    yield from _idle_budgets(config)
    yield from _strange_upstreams(config)
    if server.max_inflight_mb < server.max_body_mb:
        yield "server.max_inflight_mb is less than server.max_body_mb: larger bodies are refused; give it several times that"
    for index, key in enumerate(config.keys):
        strange = [name for name in key.models or () if not any(overlap(name, other) for other in config.models)]
        if strange and config.models:
            yield f"keys[{index}].models: {strange[0]!r} is not a model of this file{meant(strange[0], config.models)}"
        if key.expires is not None and key.expires.timestamp() <= now_s:
            yield f"keys[{index}].expires: is over already, so the key is refused"
    for name, model in config.models.items():
        if name in _reached(config, model.fallbacks):
            yield f"models.{name}.fallbacks: come back to {name} itself"


def _strange_upstreams(config: Config) -> Iterator[str]:
    for name, upstream in config.upstreams.items():
        if upstream.api_key and upstream.api_key.lower().startswith("bearer "):
            yield f"upstreams.{name}.api_key: begins with Bearer, which is no part of a key; write the key alone"
        for ending in ("/chat/completions", "/messages", "/responses"):
            if upstream.base_url.rstrip("/").endswith(ending):
                yield f"upstreams.{name}.base_url: ends in {ending}, which is put behind it anyway; leave it out"


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


def _idle_budgets(config: Config) -> Iterator[str]:
    """Budgets that nothing in the file could ever count in: a misspelt name makes a limit that does not hold."""
    known: dict[str, set[str]] = {
        "key": {key.name for key in config.keys},
        "team": {key.team for key in config.keys if key.team},
        "upstream": set(config.upstreams),
        "provider": {upstream.provider_name(name) for name, upstream in config.upstreams.items()},
        "model": set(config.models),
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
