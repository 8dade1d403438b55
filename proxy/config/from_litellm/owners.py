"""LiteLLM's keys, and whose they are: teams, users, customers, organizations and projects, each with its limits.

An organization and a project become labels of their keys; teams, users and customers are what they are here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from proxy.config.from_litellm.budgets import Owner, Spent, add_budgets, with_budget
from proxy.config.from_litellm.values import Conversion, Row, Rows, amount, moment, strings

_HASH = re.compile(r"[0-9a-fA-F]{64}\Z")
_ALL = frozenset({"all-proxy-models", "all-team-models", "*"})
_NONE = "no-default-models"
WHOLE_PROXY = "litellm-proxy-budget"
"""The user whose spend is everybody's."""
_EMPTY = ("{}", "[]", "null", "f", "")  # as a dump has them
_NOT_TAKEN = ("aliases", "config", "permissions", "allowed_routes", "budget_fallbacks", "auto_rotate")


_IDENTIFIED = ("budgets", "teams", "users", "organizations", "projects")
_NAMED = ("teams", "organizations", "projects")
"""Those that are known here by their aliases, of which LiteLLM may have several alike."""


class _Known(NamedTuple):
    """Rows of `_IDENTIFIED` by their ids."""

    budgets: Mapping[Any, Row]
    teams: Mapping[Any, Row]
    users: Mapping[Any, Row]
    organizations: Mapping[Any, Row]
    projects: Mapping[Any, Row]
    spent: Spent


def add_owners(made: Conversion, tables: Mapping[str, Rows]) -> None:
    tables = {**tables, **{name: _told_apart(made, name[:-1], tables.get(name, ())) for name in _NAMED}}
    known = _Known(
        **{name: {row.get(f"{name[:-1]}_id"): row for row in tables.get(name, ())} for name in _IDENTIFIED},
        spent={
            (str(row.get("entity_type")).lower(), str(row.get("entity_id")), str(row.get("window_duration"))): row
            for row in tables.get("windows", ())
        },
    )
    for row in tables.get("keys", ()):
        _add_key(made, row, known)
    for kind, rows in (
        ("team", tables.get("teams", ())),
        ("user", tables.get("users", ())),
        ("customer", tables.get("customers", ())),
        ("organization", tables.get("organizations", ())),
        ("project", tables.get("projects", ())),
    ):
        for row in rows:
            if row.get("user_id") == WHOLE_PROXY:
                continue  # what all calls have cost
            _add_owner(made, kind, row, known)
    for row in tables.get("team_members", ()):
        team, user = _name("team", known.teams.get(row.get("team_id"), row)), str(row.get("user_id"))
        owner = Owner(f"user {user} in team {team}", {"team": team, "user": user})
        add_budgets(made, owner, with_budget(row, known.budgets))
    for row in tables.get("organization_members", ()):
        name, user = (
            _name("organization", known.organizations.get(row.get("organization_id"), row)),
            str(row.get("user_id")),
        )
        owner = Owner(f"user {user} in organization {name}", {"label.organization": name, "user": user})
        add_budgets(made, owner, with_budget(row, known.budgets))
    _say_what_is_left(made, tables, known)


def _told_apart(made: Conversion, kind: str, rows: Rows) -> list[Row]:
    """Rows of which several have a name, with their ids in it: here a name is all that says whose a call is."""
    counts = Counter(_name(kind, row) for row in rows)
    apart: list[Row] = []
    for row in rows:
        alias = _name(kind, row)
        if counts[alias] > 1:
            name = f"{alias}-{row.get(f'{kind}_id')}"
            made.left.append(f"{kind} {alias}: is the name of {counts[alias]}; this one is {name} here")
            apart.append({**row, f"{kind}_alias": name})
        else:
            apart.append(row)
    return apart


def _add_owner(made: Conversion, kind: str, row: Row, known: _Known) -> None:
    name = _name(kind, row)
    attribute = f"label.{kind}" if kind in ("organization", "project") else kind
    limits = with_budget(row, known.budgets)
    before = len(made.config["budgets"])
    add_budgets(
        made, Owner(f"{kind} {name}", {attribute: name}, (kind, str(row.get(f"{kind}_id")))), limits, known.spent
    )
    if kind == "customer" and len(made.config["budgets"]) > before:
        made.left.append(
            f"customer {name}: its budget counts calls of keys with this `customer`, or with `trust_labels: true`"
        )
    if row.get("blocked") and kind in ("user", "customer"):
        made.left.append(f"{kind} {name} is blocked: there is no such switch here; revoke its keys")
    elif row.get("blocked"):
        made.left.append(f"{kind} {name} is blocked: its keys are left out")


def _add_key(made: Conversion, row: Row, known: _Known) -> None:
    token = str(row.get("token") or "")
    alias = str(row.get("key_alias") or row.get("key_name") or f"litellm-{token[:8]}")
    if not _HASH.match(token):
        made.left.append(f"key {alias}: its token is not a SHA-256 hash")
        return
    team, project = known.teams.get(row.get("team_id")), known.projects.get(row.get("project_id"))
    if any(owner and owner.get("blocked") for owner in (row, team, project)):
        made.left.append(f"key {alias}: is blocked, and is refused here as an unknown one")
        return
    name = alias if alias not in made.key_names else f"{alias}-{token[:8]}"
    key: dict[str, Any] = {"name": name, "key_sha256": token.lower()}
    if row.get("team_id"):
        key["team"] = _name("team", team or row)
    if row.get("user_id"):
        key["user"] = str(row["user_id"])
    organization = known.organizations.get(row.get("organization_id") or (team or {}).get("organization_id"))
    labels = {
        kind: _name(kind, owner) for kind, owner in (("organization", organization), ("project", project)) if owner
    }
    if labels:
        key["labels"] = labels
    above = [owner for owner in (team, project, organization) if owner]
    models = _models(row, above or [known.users.get(row.get("user_id"), {})])
    if models is not None:
        if not models:
            made.left.append(f"key {name}: may use no model, and is left out")
            return
        key["models"] = models
    expires = moment(row.get("expires"))
    if expires:
        key["expires"] = expires.isoformat()
    made.config["keys"].append(key)
    made.key_names.add(name)
    add_budgets(made, Owner(f"key {name}", {"key": name}, ("key", token)), with_budget(row, known.budgets), known.spent)
    made.left += [f"key {name}: {what}" for what in _NOT_TAKEN if row.get(what) and row[what] not in _EMPTY]


def _models(key: Row, above: Sequence[Row]) -> list[str] | None:
    """What a key may use: what it names, and each of those above it allows. None: everything."""
    allowed: list[str] | None = None
    for owner in (*above, key):
        named = strings(owner.get("models"))
        if _NONE in named:
            return []
        if not named or _ALL & set(named):
            continue
        allowed = named if allowed is None else [model for model in named if _is_in(model, allowed)]
    return allowed


def _is_in(model: str, allowed: Sequence[str]) -> bool:
    return any(model == one or (one.endswith("*") and model.startswith(one[:-1])) for one in allowed)


def _name(kind: str, row: Row) -> str:
    """What an owner is called here: its alias, but a user and a customer by the id that calls name."""
    if kind in ("user", "customer"):
        return str(row.get("user_id"))
    return str(row.get(f"{kind}_alias") or row.get(f"{kind}_id"))


def _say_what_is_left(made: Conversion, tables: Mapping[str, Rows], known: _Known) -> None:
    for row in tables.get("old_keys", ()):
        until = moment(row.get("revoke_at"))
        if until is None or until > made.at:
            key = str(row.get("active_token_id"))[:8]
            made.left.append(f"key {key}…: its secret from before its rotation, good until {until}")
    for kind, name in (("tags", "tag_name"), ("access_groups", "access_group_name")):
        made.left += [
            f"{kind[:-1].replace('_', ' ')} {row.get(name)}: its budget: what calls say of themselves bounds nothing here"
            for row in tables.get(kind, ())
            if with_budget(row, known.budgets).get("max_budget") is not None
        ]
    for kind in ("keys", "teams", "users", "customers", "organizations", "projects"):
        spent = [row for row in tables.get(kind, ()) if float(row.get("spend") or 0) > 0]
        free = [
            row
            for row in spent
            if row.get("user_id") != WHOLE_PROXY and with_budget(row, known.budgets).get("max_budget") is None
        ]
        if free:
            total = amount(sum(float(row["spend"]) for row in free))
            made.left.append(f"{len(free)} {kind} without a budget have spent {total} USD: nothing counts that here")
