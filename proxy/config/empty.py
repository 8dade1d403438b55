"""Settings that a file names and gives no value: as if it did not name them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_args, get_origin

from proxy.config.reading import is_required, settings_of
from proxy.config.rules import is_section, key_of

LIMITING = frozenset({"match", "models", "expires"})
"""What a call or key is held to: without it more would be let through, or counted, than was meant."""
PLACES = frozenset({"ledger", "store", "data_dir"})
"""Where the books are: a template that lacks the value would have them begun anew, elsewhere."""
_MEANT = frozenset({
    "admin_key", "limit_usd", "limit_tokens", "limit_requests", "max_requests", "max_usd_per_minute", "loop",
    "max_calls_per_key",
})  # fmt: skip
"""What else protects: an empty text is what a template makes of a value that it lacks."""


def leave_out_empty(tree: Any, section: Any) -> None:
    """Take the optional settings of `section` that are empty (null or "") out of `tree`, those of its sections too.

    What is required stays, as do places, and what protects where it is an empty text; and rows and names of the operator's
    choice (`overrides`, `headers`, prices): there nothing is no value.
    """
    if not isinstance(tree, dict):
        return
    for field in fields(section):
        name, key = field.name, key_of(field.name)
        if key not in tree:
            continue
        value = tree[key]
        if value is None or value == "":
            stays = is_required(field) or name in LIMITING | PLACES or (value == "" and name in _MEANT)
            if not stays:
                del tree[key]
        else:
            _within(value, settings_of(section)[name])


def _within(value: Any, kind: Any) -> None:
    """The sections that stand in a setting: it, or each row of its list or mapping."""
    if is_section(kind):
        leave_out_empty(value, kind)
        return
    rows: Iterable[Any] = [value]
    if get_origin(kind) is dict:
        rows = value.values() if isinstance(value, dict) else ()
    elif get_origin(kind) is tuple:
        rows = value if isinstance(value, list) else ()
    for inner in get_args(kind):
        for row in rows:
            _within(row, inner)
