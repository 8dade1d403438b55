"""LiteLLM's configuration and database rows as one of ours. Pure: values in, a configuration and what was not taken out.

Its YAML as the proxy of litellm 1.110 reads it (`model_list`, `litellm_settings`, `router_settings`, `general_settings`); its
rows as that wheel's schema.prisma has them. A virtual key is stored as the SHA-256 of its secret, which is our `key_sha256`:
clients keep their keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.config.without_file import BASE_URLS

TABLES = {
    "budgets": "LiteLLM_BudgetTable",
    "teams": "LiteLLM_TeamTable",
    "users": "LiteLLM_UserTable",
    "customers": "LiteLLM_EndUserTable",
    "keys": "LiteLLM_VerificationToken",
}
"""What is read of its database."""

Rows = Sequence[Mapping[str, Any]]

_PROVIDERS = {
    "gemini": "google",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "hosted_vllm": "vllm",
    "ollama_chat": "ollama",
    "text-completion-openai": "openai",
}
_GUESSED = (
    ("gpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("claude", "anthropic"),
    ("gemini", "google"),
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_WINDOWS = {60: "minute", 3600: "hour", 86_400: "day", 604_800: "week"}
_DURATION = re.compile(r"(\d+)(s|mo|m|h|d|w)\Z")
_VARIABLE = re.compile(r"os\.environ/(\w+)\Z")
_HASH = re.compile(r"[0-9a-fA-F]{64}\Z")
_TAKEN_PARAMS = frozenset({"model", "api_key", "api_base", "base_url", "custom_llm_provider"})
_TAKEN_SETTINGS = {
    "litellm_settings": frozenset({"max_budget", "budget_duration", "fallbacks", "num_retries"}),
    "router_settings": frozenset({"fallbacks", "num_retries"}),
    "general_settings": frozenset({"master_key"}),
}
_ALL = frozenset({"all-proxy-models", "all-team-models", "*"})


class Moved(NamedTuple):
    """config: as YAML. left: what has no counterpart, a line each."""

    config: dict[str, Any]
    left: Sequence[str]


@dataclass(slots=True)
class _Made:
    config: dict[str, Any] = field(
        default_factory=lambda: {"server": {}, "upstreams": {}, "models": {}, "keys": [], "budgets": []}
    )
    left: list[str] = field(default_factory=list)


def moved(config: Mapping[str, Any], tables: Mapping[str, Rows]) -> Moved:
    """config: LiteLLM's YAML, opened. tables: by the names of `TABLES`."""
    made = _Made()
    for number, row in enumerate(_list(config.get("model_list"))):
        _add_model(made, row, f"model_list[{number}]")
    _add_settings(made, config)
    budgets = {row.get("budget_id"): row for row in tables.get("budgets", ())}
    teams = {row.get("team_id"): row for row in tables.get("teams", ())}
    for row in tables.get("keys", ()):
        _add_key(made, row, teams, budgets)
    for kind, attribute, rows in (
        ("team", "team", tables.get("teams", ())),
        ("user", "user", tables.get("users", ())),
        ("customer", "customer", tables.get("customers", ())),
    ):
        for row in rows:
            name = _team_name(row) if kind == "team" else str(row.get("user_id"))
            _add_budgets(made, kind, attribute, name, _with_budget(row, budgets))
            if row.get("blocked"):
                made.left.append(f"{kind} {name} is blocked: there is no such switch here; revoke its keys")
    return Moved({name: value for name, value in made.config.items() if value}, made.left)


# Models and settings


def _add_model(made: _Made, row: Any, where: str) -> None:
    params = _dict(_dict(row).get("litellm_params"))
    name, target = _dict(row).get("model_name"), params.get("model")
    if not isinstance(name, str) or not isinstance(target, str):
        made.left.append(f"{where}: has no model_name, or no litellm_params.model")
        return
    prefix, slash, model = target.partition("/")
    provider = str(params.get("custom_llm_provider") or (prefix if slash else ""))
    model = model if slash and provider == prefix else target
    provider = _PROVIDERS.get(provider, provider) or next((p for start, p in _GUESSED if target.startswith(start)), "")
    base = params.get("api_base") or params.get("base_url") or BASE_URLS.get(provider)
    if not provider or not base:
        made.left.append(f"{where}: {name}: {target}: no upstream is known for it; name its base_url")
        return
    upstream = _upstream(made, provider, _variable(base), _variable(params.get("api_key")))
    models = made.config["models"]
    entry: dict[str, Any] = {"upstream": upstream} | ({} if model == name else {"model": model})
    if name not in models:
        models[name] = entry
    elif "*" in name:
        made.left.append(f"{where}: {name}: is there already; a pattern has one upstream")
    else:
        other = next(f"{name}.{number}" for number in range(2, 10_000) if f"{name}.{number}" not in models)
        models[other] = {"upstream": upstream, "model": model}
        models[name]["fallbacks"] = [*models[name].get("fallbacks", ()), other]
        made.left.append(f"{where}: {name}: is a fallback ({other}); calls are not spread over several upstreams")
    made.left += [f"{where}: {name}: litellm_params.{key}" for key in params if key not in _TAKEN_PARAMS]
    made.left += [f"{where}: {name}: {key}" for key in _dict(row) if key not in ("model_name", "litellm_params")]


def _upstream(made: _Made, provider: str, base: Any, key: Any) -> str:
    upstreams = made.config["upstreams"]
    entry = {"provider": provider, "base_url": str(base)} | ({"api_key": str(key)} if key else {})
    for number in range(1, 10_000):
        name = provider if number == 1 else f"{provider}-{number}"
        if upstreams.setdefault(name, entry) == entry:
            break
    return name


def _variable(value: Any) -> Any:
    """`os.environ/NAME` as we write it."""
    match = _VARIABLE.match(value) if isinstance(value, str) else None
    return f"${{{match[1]}}}" if match else value


def _add_settings(made: _Made, config: Mapping[str, Any]) -> None:
    both = _dict(config.get("router_settings")) | _dict(config.get("litellm_settings"))
    models = made.config["models"]
    for item in _list(both.get("fallbacks")):
        for name, others in _dict(item).items():
            known = [other for other in _list(others) if other in models]
            if name not in models or len(known) < len(_list(others)):
                made.left.append(f"fallbacks: {name}: {others}: not all of them are models here")
            if name in models and known:
                models[name]["fallbacks"] = list(dict.fromkeys([*models[name].get("fallbacks", ()), *known]))
    retries = both.get("num_retries")
    if isinstance(retries, int) and 0 < retries <= 10:
        for entry in models.values():
            entry["retries"] = retries
    master = _dict(config.get("general_settings")).get("master_key")
    if master:
        made.config["server"]["admin_key"] = _variable(master)
        made.left.append("general_settings.master_key: is the admin key here, and no key for calls")
    _add_budgets(made, "all", None, "", both)
    for section, taken in _TAKEN_SETTINGS.items():
        made.left += [f"{section}.{key}" for key in _dict(config.get(section)) if key not in taken]
    made.left += [key for key in config if key != "model_list" and key not in _TAKEN_SETTINGS]


# Keys and budgets


def _add_key(
    made: _Made, row: Mapping[str, Any], teams: Mapping[Any, Mapping[str, Any]], budgets: Mapping[Any, Any]
) -> None:
    token = str(row.get("token") or "")
    alias = str(row.get("key_alias") or row.get("key_name") or f"litellm-{token[:8]}")
    if not _HASH.match(token):
        made.left.append(f"key {alias}: its token is no SHA-256")
        return
    team = teams.get(row.get("team_id"))
    if row.get("blocked") or (team and team.get("blocked")):
        made.left.append(f"key {alias}: is blocked, and is refused here as an unknown one")
        return
    names = {key["name"] for key in made.config["keys"]}
    name = alias if alias not in names else f"{alias}-{token[:8]}"
    key: dict[str, Any] = {"name": name, "key_sha256": token.lower()}
    if row.get("team_id"):
        key["team"] = _team_name(team) if team else str(row["team_id"])
    if row.get("user_id"):
        key["user"] = str(row["user_id"])
    models = _strings(row.get("models"))
    if (not models or "all-team-models" in models) and team:
        models = _strings(team.get("models"))
    if "no-default-models" in models:
        made.left.append(f"key {name}: may use no model, and is left out")
        return
    if models and not _ALL & set(models):
        key["models"] = models
    if row.get("expires"):
        key["expires"] = str(row["expires"]).replace(" ", "T")
    made.config["keys"].append(key)
    _add_budgets(made, "key", "key", name, _with_budget(row, budgets))
    made.left += [
        f"key {name}: {what}" for what in ("aliases", "config", "permissions", "allowed_routes") if _value(row, what)
    ]


def _add_budgets(made: _Made, kind: str, attribute: str | None, name: str, row: Mapping[str, Any]) -> None:
    """One for money, in the row's window, and one for each limit a minute or a day."""
    label = f"{kind} {name}".strip()
    match = {"match": {attribute: name}} if attribute else {}
    money = row.get("max_budget")
    if money is not None:
        window = _window(row.get("budget_duration"))
        if window is None:
            made.left.append(f"{label}: max_budget {money} for {row['budget_duration']}: there is no such window")
        else:
            made.config["budgets"].append({"name": label, **match, "limit_usd": _amount(money), "window": window})
            if window == "month":
                made.left.append(
                    f"{label}: its budget begins anew with the calendar month, not {row['budget_duration']} on"
                )
    for column, measure, window in (
        ("rpm_limit", "limit_requests", "minute"),
        ("tpm_limit", "limit_tokens", "minute"),
        ("tpd_limit", "limit_tokens", "day"),
    ):
        if attribute and row.get(column) and int(row[column]) > 0:
            limit = {"name": f"{label} {column}", **match, measure: int(row[column]), "window": window}
            made.config["budgets"].append(limit)
    if row.get("spend") and float(row["spend"]):
        made.left.append(f"{label}: spend so far {_amount(row['spend'])} USD: budgets begin at 0")
    made.left += [
        f"{label}: {what}" for what in ("soft_budget", "model_max_budget", "budget_limits") if _value(row, what)
    ]
    if attribute and row.get("max_parallel_requests"):
        made.left.append(f"{label}: max_parallel_requests {row['max_parallel_requests']} (server.max_calls_per_key)")


def _with_budget(row: Mapping[str, Any], budgets: Mapping[Any, Mapping[str, Any]]) -> Mapping[str, Any]:
    """A row's own limits; those of its budget where it has none."""
    shared = budgets.get(row.get("budget_id")) if row.get("budget_id") else None
    return row if shared is None else dict(shared) | {name: value for name, value in row.items() if value is not None}


def _window(duration: Any) -> str | None:
    if not duration:
        return "total"
    text = {"daily": "1d", "weekly": "1w", "monthly": "1mo"}.get(str(duration).lower(), str(duration).lower())
    match = _DURATION.match(text)
    if match is None:
        return None
    seconds = int(match[1]) * _SECONDS[match[2]]
    return "month" if 28 * 86_400 <= seconds <= 31 * 86_400 else _WINDOWS.get(seconds)


def _amount(value: Any) -> str:
    """A float as it was typed."""
    text = f"{float(value):.9f}"
    return text.rstrip("0").rstrip(".")


def _team_name(row: Mapping[str, Any]) -> str:
    return str(row.get("team_alias") or row.get("team_id"))


def _value(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    return None if value in ("{}", "[]", "null") else value


def _strings(value: Any) -> list[str]:
    """A list, or one as a database's text has it."""
    if isinstance(value, str):
        text = value.strip()
        value = json.loads(text) if text.startswith("[") else [part.strip('"') for part in text.strip("{}").split(",")]
    return [str(item) for item in value or () if str(item)]


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
