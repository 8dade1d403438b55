"""The operator's own prices: rows of the configuration's `prices:`, checked all at once.

A row is `{provider, model, <unit>: price, …}` with, optionally, `from` (inclusive) and `to` (exclusive), `tiers`,
`when`, and `multiplier` with `match`. A price is a decimal string or an int (USD per million tokens, or per thing), or
`{usd, per, min_quantity}`. Floats are refused: 0.1 is not what it looks like.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pricing.catalog import Catalog, is_snapshot, simpler_names
from pricing.dearest import PERHAPS
from pricing.price import ALWAYS_S, NEVER_S, Multiplier, Price, Row, Tier, is_one_of
from pricing.resolve import OPERATORS, closest
from pricing.times import epoch_s
from pricing.units import UNITS, default_per
from pricing.values import frozen

_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,18})?")
_SETTINGS = {"provider", "model", "from", "to", "tiers", "multiplier", "match", "when"}
_TIER_SETTINGS = {"over_input_tokens", "inclusive"}
_MAX_PER = 10**12
_ANY: Mapping[str, tuple[str, ...]] = {}
_T = TypeVar("_T")


class Problem(NamedTuple):
    """What is wrong, and the key path where it stands: `prices[2].input`."""

    path: str
    message: str


@frozen
class OperatorPrice:
    """One row: prices, or a factor on prices, or both."""

    row: Row | None
    multiplier: Multiplier | None


class _BadValueError(ValueError):
    """A value that cannot be read; the message says why."""


def parse_rows(rows: Sequence[Any]) -> tuple[tuple[OperatorPrice, ...], tuple[Problem, ...]]:
    """All rows that are right, and every problem of those that are not."""
    problems: list[Problem] = []
    parsed = [_parse_row(raw, f"prices[{index}]", problems) for index, raw in enumerate(rows)]
    return tuple(row for row in parsed if row is not None), tuple(problems)


def _parse_row(raw: Any, path: str, problems: list[Problem]) -> OperatorPrice | None:
    if not isinstance(raw, Mapping):
        problems.append(Problem(path, "must be a mapping: {provider, model, input, output, …}"))
        return None
    before = len(problems)

    def take(name: str, read: Callable[[Any], _T], default: _T) -> _T:
        if raw.get(name) is None:
            return default
        return _read(raw[name], f"{path}.{name}", read, default, problems)

    missing = [name for name in ("provider", "model") if raw.get(name) is None]
    problems += [Problem(f"{path}.{name}", "is required") for name in missing]
    provider, model = take("provider", _name, ""), take("model", _name, "")
    from_s, to_s = take("from", _moment, ALWAYS_S), take("to", _moment, NEVER_S)
    if from_s >= to_s:
        problems.append(Problem(f"{path}.to", "must be later than `from`"))
    prices = _prices(raw, path, _SETTINGS, problems)
    tiers = _tiers(raw.get("tiers"), f"{path}.tiers", problems)
    factor = take("multiplier", _factor, None)
    match, when = take("match", _choices, _ANY), take("when", _choices, _ANY)
    if not prices and not tiers and "multiplier" not in raw and len(problems) == before:
        problems.append(Problem(path, "names neither a unit's price nor a multiplier"))
    if match and "multiplier" not in raw:
        problems.append(Problem(f"{path}.match", "goes with `multiplier` only: a price is the same for all callers"))
    if len(problems) > before:
        return None
    source = path
    row = Row(provider, model, prices, tiers, from_s, to_s, when, source) if prices or tiers else None
    multiplier = (
        Multiplier(provider, model, factor, from_s, to_s, match, when, everything=True, source=source, group=OPERATORS)
        if factor is not None
        else None
    )
    return OperatorPrice(row, multiplier)


def _read(value: Any, path: str, read: Callable[[Any], _T], default: _T, problems: list[Problem]) -> _T:
    try:
        return read(value)
    except _BadValueError as bad:
        problems.append(Problem(path, str(bad)))
        return default


def _prices(raw: Mapping[Any, Any], path: str, settings: set[str], problems: list[Problem]) -> dict[str, Price]:
    prices = {}
    for name, value in raw.items():
        if name in settings or value is None:
            continue
        if name not in UNITS:
            problems.append(Problem(f"{path}.{name}", "is neither a setting nor a unit; units are " + ", ".join(UNITS)))
            continue
        price = _read(value, f"{path}.{name}", partial(_price, str(name)), None, problems)
        if price is not None:
            prices[name] = price
    return prices


def _tiers(raw: Any, path: str, problems: list[Problem]) -> tuple[Tier, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        problems.append(Problem(path, "must be a list of {over_input_tokens, <unit>: price}"))
        return ()
    tiers = []
    for index, entry in enumerate(raw):
        at = f"{path}[{index}]"
        if not isinstance(entry, Mapping):
            problems.append(Problem(at, "must be a mapping: {over_input_tokens, <unit>: price}"))
            continue
        over = entry.get("over_input_tokens")
        if not isinstance(over, int) or isinstance(over, bool) or over < 0:
            problems.append(Problem(f"{at}.over_input_tokens", "must be a whole number of tokens"))
            continue
        inclusive = entry.get("inclusive", False)
        if not isinstance(inclusive, bool):
            problems.append(Problem(f"{at}.inclusive", "must be true or false"))
            continue
        prices = _prices(entry, at, _TIER_SETTINGS, problems)
        if not prices and not problems:
            problems.append(Problem(at, "names no unit's price"))
        tiers.append(Tier(over, prices, inclusive))
    if len({tier.over for tier in tiers}) < len(tiers):
        problems.append(Problem(path, "two tiers begin at the same over_input_tokens"))
    return tuple(sorted(tiers, key=lambda tier: tier.over))


def _price(unit: str, value: Any) -> Price | None:
    if not isinstance(value, Mapping):
        return Price(_decimal(value), default_per(unit))
    if unknown := [str(name) for name in value if name not in ("usd", "per", "min_quantity")]:
        raise _BadValueError(f"takes usd, per and min_quantity, not {', '.join(unknown)}")
    if "usd" not in value:
        raise _BadValueError("needs usd")
    per = value.get("per", default_per(unit))
    if not isinstance(per, int) or isinstance(per, bool) or not 0 < per <= _MAX_PER:
        raise _BadValueError("per must be a whole number above 0")
    at_least = value.get("min_quantity")
    return Price(_decimal(value["usd"]), per, 0 if at_least is None else _decimal(at_least))


def _decimal(value: Any) -> Decimal:
    if isinstance(value, float):
        raise _BadValueError(f'must be quoted to be exact: "{value}"')
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value.strip()):
        raise _BadValueError('must be a decimal number >= 0 in quotes, as "0.25"')
    return Decimal(value.strip())


def _factor(value: Any) -> Decimal | None:
    factor = _decimal(value)
    if factor > 1000:
        raise _BadValueError('must be a factor on prices, as "0.9"')
    return factor


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _BadValueError("must be a name")
    name = value.strip().lower()
    if "*" in name[:-1]:
        raise _BadValueError("may hold * only at its end")
    return name


def _moment(value: Any) -> int:
    """Epoch seconds of a date (00:00 UTC) or time; a time without a zone is UTC."""
    if isinstance(value, str | dt.date):
        try:
            return epoch_s(value.strip() if isinstance(value, str) else value, ALWAYS_S)
        except ValueError:
            pass
    raise _BadValueError("must be a date, as 2026-12-01, or a time, as 2026-12-01T08:00:00Z")


def _choices(value: Any) -> Mapping[str, tuple[str, ...]]:
    """`{team: a}` or `{team: [a, b-*]}`."""
    if not isinstance(value, Mapping):
        raise _BadValueError("must be a mapping, as {team: payments}")
    chosen: dict[str, tuple[str, ...]] = {}
    for name, wanted in value.items():
        names = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(names, list | tuple) or not names or not all(isinstance(one, str) for one in names):
            raise _BadValueError(f"{name} must be a value or a list of values")
        if "" in names:
            raise _BadValueError(f"{name} has an empty value, which no call has")
        chosen[str(name)] = tuple(names)
    return chosen


def rows_for(rows: Iterable[Row], provider: str, canonical: str, names: Sequence[str]) -> list[tuple[int, Row]]:
    """The operator's rows for a model by any of its names, and how closely each names it."""
    return [
        (closeness, row)
        for row in rows
        if is_one_of(row.provider, provider.lower(), canonical) and (closeness := closest(names, row.model)) is not None
    ]


def rows_of_snapshots(
    rows: Iterable[Row], catalog: Catalog, provider: str, canonical: str, names: Sequence[str], at_s: int
) -> list[tuple[int, Row]]:
    """The operator's rows for names by which the model itself may answer: none comes before them then."""
    listed = catalog.find(canonical, names[0], at_s)
    perhaps = []
    for row in rows:
        name = row.model.rstrip("*")
        if (
            name
            and is_one_of(row.provider, provider.lower(), canonical)
            and closest(names, row.model) is None
            and (
                not set(names).isdisjoint(simpler_names(name))
                or is_snapshot(name, names[0])
                or (listed is not None and catalog.find(canonical, name, at_s) is listed)
            )
        ):
            perhaps.append((PERHAPS, row))
    return perhaps
