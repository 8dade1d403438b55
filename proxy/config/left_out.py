"""Upstreams whose `api_key` is unset, and all that needs them: a file may be of machines that have some of the keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MOST_NAMES = 5


class LeftOut(NamedTuple):
    """What the file names and is not served: upstreams, their providers by the names in the file, models."""

    upstreams: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()


def leave_out(tree: dict[str, Any], reasons: Sequence[tuple[str, str]]) -> tuple[LeftOut, list[str]]:
    """Take upstreams out of an expanded tree, with the models that go there; and a warning of each. reasons: name and why."""
    providers, models, warnings = set[str](), set[str](), list[str]()
    for name, reason in reasons:
        row = tree["upstreams"].pop(name, {})
        providers |= {name, str(row.get("provider") or name)}
        gone = [model for model, row in _rows(tree.get("models")).items() if row.get("upstream") == name]
        for model in gone:
            del tree["models"][model]
        _forget(tree, name, gone)
        models |= {*gone}
        warnings.append(f"upstreams.{name} is left out{_with(gone)}: {reason}; to have it, mend that and start again")
    return LeftOut(frozenset(name for name, _ in reasons), frozenset(providers), frozenset(models)), warnings


def _rows(section: Any) -> Mapping[str, Mapping[str, Any]]:
    return {name: row for name, row in section.items() if isinstance(row, dict)} if isinstance(section, dict) else {}


def _forget(tree: Mapping[str, Any], upstream: str, models: Sequence[str]) -> None:
    """What is left names none of them."""
    for row in _rows(tree.get("models")).values():
        if isinstance(row.get("fallbacks"), list):
            row["fallbacks"][:] = [name for name in row["fallbacks"] if name not in models]
    capacities = tree.get("capacity")
    for row in capacities if isinstance(capacities, list) else ():
        if isinstance(row, dict) and isinstance(row.get("upstreams"), list):
            row["upstreams"] = [other for other in row["upstreams"] if other != upstream]


def _with(models: Sequence[str]) -> str:
    if not models:
        return ""
    more = f" and {len(models) - _MOST_NAMES} more" if len(models) > _MOST_NAMES else ""
    return f", and with it the model{'s' * (len(models) > 1)} {', '.join(models[:_MOST_NAMES])}{more}"
