"""Loading and checking a configuration: all of its problems at once, each with its key path.

Form is `model.py`'s matter (pydantic); here is what one row has to do with another, with prices, and with the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from pricing.operator import parse_rows
from pricing.units import TOKENS
from pricing.values import frozen
from proxy.config.addresses import is_loopback, wrong_with_url
from proxy.config.capacity import check_capacity
from proxy.config.empty import leave_out_empty
from proxy.config.exports import check_exports
from proxy.config.fields import HEADER_NAME, KEY_BUDGETS, fits_a_header, wrong_with_secret
from proxy.config.file import Expansion, load, read_lines
from proxy.config.left_out import leave_out
from proxy.config.likely_mistakes import likely_mistakes
from proxy.config.model import ATTRIBUTES, Budget, Config, Key, Loaded, override_limit
from proxy.config.places import check_places, check_server, is_itself
from proxy.config.plans import Plan
from proxy.config.problems import ConfigError, Problem
from proxy.config.reading import read_section
from proxy.config.without_file import complete, names_none
from proxy.config.wording import NO_SETTING, meant, problems_of
from proxy.times import now_s


def load_config(path: Path | None, environ: Mapping[str, str], otherwise: Mapping[str, Any] | None = None) -> Loaded:
    """The configuration at `path`. Raises `ConfigError` with all problems, each with its line.

    otherwise: upstreams, models and prices where no file names upstreams or models.
    """
    if path is None:
        return Loaded(*build(Expansion(dict(otherwise or {}), [], [])), names_none=True)
    expansion = load(path, environ)
    leave_out_empty(expansion.tree, Config)
    alone = names_none(expansion.tree)
    if alone and otherwise is not None:
        complete(expansion.tree, otherwise)
    try:
        return Loaded(*build(expansion), names_none=alone)
    except ConfigError as error:
        lines = read_lines(path)
        raise ConfigError([lines.put(problem) for problem in error.problems]) from None


def build(expansion: Expansion) -> tuple[Config, list[str]]:
    """Check an expanded tree whole. Upstreams whose `api_key` is unset are left out, with the models that need them."""
    tree, problems = expansion.tree, list(expansion.problems)
    left_out, warnings = leave_out(tree, expansion.left_out)
    try:
        config = read_section(Config, tree)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        formal = problems_of(Config, errors)
        rest = _checks_of_the_rest(tree, [item["loc"] for item in errors])
        raise ConfigError(_first_causes(expansion.problems, [*formal, *rest])) from None
    problems = _first_causes(problems, _cross_checks(config, _Rows.all_of(tree)))
    if problems:
        raise ConfigError(problems)
    return config, [
        *warnings,
        *_weak_secrets(config),
        *_open_secrets(config),
        *likely_mistakes(config, now_s(), left_out, is_alone=names_none(tree)),
    ]


def _weak_secrets(config: Config) -> list[str]:
    """Secrets that could be guessed: told, not refused, for many are made by others."""
    server = config.server
    names = ("admin_key", "viewer_key", "metrics_token")
    secrets = [(f"server.{name}", getattr(server, name)) for name in names]
    secrets += [(f"keys[{index}].key", key.key) for index, key in enumerate(config.keys)]
    return [
        f"{path} is short enough to be guessed; take at least 16 characters"
        for path, secret in secrets
        if secret and len(secret) < 16
    ]


def _open_secrets(config: Config) -> list[str]:
    """Credentials that anybody on the way can read."""
    return [
        f"upstreams.{name}.{path} sends its api_key unencrypted to {urlsplit(url).hostname}; use https"
        for name, upstream in config.upstreams.items()
        for path, url in upstream.urls()
        if upstream.api_key and url.startswith("http://") and not is_loopback(urlsplit(url).hostname or "")
    ] + [
        f"exports[{index}].url sends its credentials unencrypted to {urlsplit(row.url).hostname}; use https"
        for index, row in enumerate(config.exports)
        if (row.api_key or row.headers)
        and row.url
        and row.url.startswith("http://")
        and not is_loopback(urlsplit(row.url).hostname or "")
    ]


@frozen
class _Rows:
    """Where the checked rows stand in the file: names that it has, and the indices of its lists' rows."""

    upstreams: frozenset[str]
    models: frozenset[str]
    keys: tuple[int, ...]
    budgets: tuple[int, ...]
    capacity: tuple[int, ...]
    exports: Mapping[int, frozenset[str]]
    """With the settings that each names."""

    @classmethod
    def all_of(cls, tree: Mapping[str, Any], left_out: frozenset[tuple[str, Any]] = frozenset()) -> _Rows:
        def names(section: str) -> frozenset[str]:
            rows = tree.get(section)
            return frozenset(rows) if isinstance(rows, dict) else frozenset()

        def indices(section: str) -> tuple[int, ...]:
            rows = tree.get(section)
            count = len(rows) if isinstance(rows, list) else 0
            return tuple(index for index in range(count) if (section, index) not in left_out)

        return cls(
            names("upstreams"),
            names("models"),
            indices("keys"),
            indices("budgets"),
            indices("capacity"),
            {index: frozenset(tree["exports"][index]) for index in indices("exports")},
        )


def _checks_of_the_rest(tree: Mapping[str, Any], places: Sequence[Sequence[str | int]]) -> list[Problem]:
    """What else is wrong, in the rows and sections that have the right form: all problems are told at once."""
    left_out: frozenset[tuple[str, Any]] = frozenset(
        (str(place[0]), place[1] if len(place) > 1 else None) for place in places
    )
    rest: dict[str, Any] = {}
    for section, value in tree.items():
        bad = {item for name, item in left_out if name == section}
        if not bad:
            rest[section] = value
        elif section in ("upstreams", "models") and isinstance(value, dict):
            rest[section] = {name: row for name, row in value.items() if name not in bad}
        elif section in ("keys", "budgets", "capacity", "exports") and isinstance(value, list):
            rest[section] = [row for index, row in enumerate(value) if index not in bad]
    try:
        config = read_section(Config, rest)
    except ValidationError:
        return []
    return _cross_checks(config, _Rows.all_of(tree, left_out))


def _first_causes(unset: Sequence[Problem], problems: Sequence[Problem]) -> list[Problem]:
    """All problems, but for those that are only there because a variable is not set, or the file is another program's."""
    gone = [problem.path for problem in unset]
    of_litellm = [problem.path for problem in problems if problem.message.startswith("is a setting of LiteLLM")]
    rest = [
        problem
        for problem in problems
        if problem.message.startswith(NO_SETTING) or not any(path.startswith(f"{problem.path}.") for path in gone)
    ]
    return (
        [problem for problem in unset if not problem.path.startswith(tuple(of_litellm))] + rest
        if of_litellm
        else [*unset, *rest]
    )


def _cross_checks(config: Config, rows: _Rows) -> list[Problem]:
    return [
        *check_server(config),
        *_check_upstreams(config),
        *_check_models(config, rows),
        *[Problem(problem.path, problem.message) for problem in parse_rows(config.prices)[1]],
        *_check_keys(config.keys, rows.keys),
        *_check_budgets(config.budgets, rows.budgets),
        *check_capacity(config.capacity, rows.capacity, rows.upstreams),
        *_check_plans(config.plans),
        *check_exports(config.exports, rows.exports),
        *check_places(config),
    ]


_OURS = frozenset({
    "content-length", "transfer-encoding", "connection", "host", "upgrade", "te", "trailer", "expect", "keep-alive",
    "accept-encoding",
})  # fmt: skip


def _check_upstreams(config: Config) -> list[Problem]:
    problems = []
    for name, upstream in config.upstreams.items():
        here = f"upstreams.{name}"
        problems += [
            Problem(f"{here}.{path}", what)
            for path, url in upstream.urls()
            if (what := wrong_with_url(url) or is_itself(url, config.server))
        ]
        others = bool(upstream.dialect or upstream.dialects or upstream.base_urls)
        wrong = upstream.problems(upstream.base_url, speaks_others=others, signs="bedrock" in upstream.spoken(name))
        problems += [Problem(f"{here}.{setting}", what) for setting, what in wrong]
        if upstream.dialect and upstream.dialects:
            problems.append(Problem(f"{here}.dialect", "is the short form of dialects; give only one of the two"))
        if upstream.api_key and not fits_a_header(upstream.api_key):
            problems.append(
                Problem(f"{here}.api_key", "has characters that are not allowed in a header (perhaps a line break)")
            )
        for header, value in upstream.headers.items():
            if not HEADER_NAME.match(header) or not fits_a_header(value):
                problems.append(Problem(f"{here}.headers.{header}", "is not a valid header"))
            elif header.lower() in _OURS:
                problems.append(Problem(f"{here}.headers.{header}", "is set by the proxy itself; leave it out"))
    return problems


def _check_models(config: Config, rows: _Rows) -> list[Problem]:
    problems = []
    for name, model in config.models.items():
        if model.upstream not in rows.upstreams:
            names = ", ".join(sorted(rows.upstreams)) or "none"
            problems.append(
                Problem(
                    f"models.{name}.upstream",
                    f"{model.upstream!r} is not an upstream (there are: {names}){meant(model.upstream, rows.upstreams)}",
                )
            )
        if "*" in name[:-1]:
            problems.append(Problem(f"models.{name}", "may have a * only at its end"))
        problems += [
            Problem(f"models.{name}.fallbacks[{index}]", f"{fallback!r} is not a model{meant(fallback, rows.models)}")
            for index, fallback in enumerate(model.fallbacks)
            if fallback not in rows.models
        ]
    return problems


def _check_keys(keys: Sequence[Key], indices: Sequence[int]) -> list[Problem]:
    problems = []
    names: set[str] = set()
    ids: set[str] = set()
    for index, key in zip(indices, keys, strict=True):
        if bool(key.key) == bool(key.key_sha256):
            problems.append(Problem(f"keys[{index}]", "needs exactly one of key and key_sha256"))
        elif key.key_id in ids:
            problems.append(Problem(f"keys[{index}].key", "is the same secret as another key's"))
        if key.key and (what := wrong_with_secret(key.key)):
            problems.append(Problem(f"keys[{index}].key", what))
        if key.name in names:
            problems.append(Problem(f"keys[{index}].name", f"{key.name!r} is another key's name"))
        names.add(key.name)
        ids.add(key.key_id)
    return problems


def known_attribute(name: str) -> bool:
    return name in ATTRIBUTES or (name.startswith("label.") and len(name) > len("label."))


def _check_budgets(budgets: Sequence[Budget], indices: Sequence[int]) -> list[Problem]:
    problems = []
    names: set[str] = set()
    for index, budget in zip(indices, budgets, strict=True):
        path = f"budgets[{index}]"
        if budget.name in names:
            problems.append(Problem(f"{path}.name", f"{budget.name!r} is another budget's name"))
        if budget.name.startswith(KEY_BUDGETS):
            why = f"begins with {KEY_BUDGETS!r}, as the budgets do that keys are made with; call it otherwise"
            problems.append(Problem(f"{path}.name", why))
        names.add(budget.name)
        limits = [
            limit for limit in (budget.limit_usd, budget.limit_tokens, budget.limit_requests) if limit is not None
        ]
        if len(limits) != 1:
            problems.append(Problem(path, "needs exactly one of limit_usd, limit_tokens and limit_requests"))
        if budget.units and budget.limit_tokens is None:
            problems.append(Problem(f"{path}.units", "goes with limit_tokens only"))
        problems += [
            Problem(f"{path}.units", f"{unit!r} is not a unit of tokens; use one of {', '.join(sorted(TOKENS))}")
            for unit in budget.units
            if unit not in TOKENS
        ]
        problems += _check_matches(budget.match, budget.per, path)
        if budget.overrides and len(budget.per) != 1:
            problems.append(Problem(f"{path}.overrides", "needs a `per` with exactly one attribute"))
        if budget.opening is not None and (budget.limit_usd is None or budget.per):
            problems.append(Problem(f"{path}.opening", "goes with limit_usd, and without `per`"))
        problems += _check_overrides(budget, path)
    return problems


def _check_matches(match: Mapping[str, Sequence[str]], per: Sequence[str], path: str) -> list[Problem]:
    problems = []
    for attribute in (*match, *per):
        if not known_attribute(attribute):
            where = f"{path}.match" if attribute in match else f"{path}.per"
            problems.append(
                Problem(
                    where,
                    f"{attribute!r} is not one of {', '.join(ATTRIBUTES)} or label.NAME{meant(attribute, ATTRIBUTES)}",
                )
            )
    for attribute, patterns in match.items():
        if not patterns:
            problems.append(Problem(f"{path}.match.{attribute}", "names no value, so no call would ever count"))
        if "" in patterns:
            why = "has an empty value, which no call has; leave the attribute out to count every call"
            problems.append(Problem(f"{path}.match.{attribute}", why))
        if any("*" in pattern[:-1] for pattern in patterns):
            problems.append(Problem(f"{path}.match.{attribute}", "may have a * only at the end of a value"))
    return problems


def _check_plans(plans: Sequence[Plan]) -> list[Problem]:
    problems = []
    for index, plan in enumerate(plans):
        path = f"plans[{index}]"
        problems += _check_matches(plan.match, (plan.per,), path)
        if plan.from_ is not None and plan.to is not None and plan.from_ >= plan.to:
            problems.append(Problem(f"{path}.to", "must be later than `from`"))
        if plan.fee + plan.target_margin >= 1:
            problems.append(Problem(f"{path}.target_margin", "and the fee leave nothing of the revenue for the calls"))
    return problems


def _check_overrides(budget: Budget, path: str) -> list[Problem]:
    problems = []
    for value, limit in budget.overrides.items():
        try:
            override_limit(budget, limit)
        except ValueError as error:
            problems.append(Problem(f"{path}.overrides.{value}", str(error)))
    return problems
