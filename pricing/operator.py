"""The operator's own prices: the rows of the configuration's `prices:`, checked all at once.

    {provider: vllm, model: "*", input: "0.10", cache_read: "0.01", output: "0.40"}
    {provider: acme, model: big-1, input: "2", output: "10", tiers: [{over_input_tokens: 200000, input: "4"}]}
    {provider: openai, model: "*", multiplier: "0.9", match: {team: payments}}

`from` is inclusive, `to` exclusive, both UTC. A price is a string (USD per million tokens, or per single thing) or
`{usd, per, min_quantity}`. Floats are refused: YAML has rounded them before anyone can see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pricing.money import parse_amount
from pricing.rows import BEGINNING_S, END_S, Price, parse_conditions, parse_instant, parse_price
from pricing.units import UNITS

_OWN_KEYS = {"provider", "model", "from", "to", "tiers", "multiplier", "match"}
_THRESHOLDS = ("over_input_tokens", "from_input_tokens")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a row: its key path and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class OperatorPrice:
    """One row. `tiers` maps a number of input tokens to the prices above it; `path` is where the row stands."""

    path: str
    provider: str
    model: str
    prices: Mapping[str, Price] = field(default_factory=dict)
    tiers: Mapping[int, Mapping[str, Price]] = field(default_factory=dict)
    multiplier: Decimal | None = None
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    from_s: int = BEGINNING_S
    to_s: int = END_S


def parse_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[OperatorPrice, ...], tuple[Problem, ...]]:
    """The rows that are right, and all that is wrong with the others."""
    problems: list[Problem] = []
    parsed = [_parse_row(f"prices[{index}]", row, problems) for index, row in enumerate(rows)]
    return tuple(row for row in parsed if row is not None), tuple(problems)


def _parse_row(path: str, raw: Mapping[str, Any], problems: list[Problem]) -> OperatorPrice | None:
    if not isinstance(raw, Mapping):
        problems.append(Problem(path, "must be a mapping with provider, model and prices"))
        return None
    before = len(problems)
    provider, model = (_name(path, key, raw, problems) for key in ("provider", "model"))
    from_s = _checked(f"{path}.from", parse_instant, raw.get("from"), problems, BEGINNING_S)
    to_s = _checked(f"{path}.to", parse_instant, raw.get("to"), problems, END_S)
    if len(problems) == before and from_s >= to_s:
        problems.append(Problem(f"{path}.to", "must be later than `from` (it is exclusive)"))
    multiplier = _checked(f"{path}.multiplier", parse_amount, raw.get("multiplier"), problems, None)
    match = raw.get("match", {})
    if not isinstance(match, Mapping):
        problems.append(Problem(f"{path}.match", "must map attributes to values, for example {team: payments}"))
        match = {}
    prices = _prices(path, {name: value for name, value in raw.items() if name not in _OWN_KEYS}, problems)
    tiers = dict(_tiers(path, raw.get("tiers", ()), problems))
    if not prices and not tiers and multiplier is None and len(problems) == before:
        problems.append(Problem(path, 'names no price: add for example input: "0.10", or a multiplier'))
    if len(problems) > before:
        return None
    return OperatorPrice(path, provider, model, prices, tiers, multiplier, parse_conditions(match), from_s, to_s)


def _name(path: str, key: str, raw: Mapping[str, Any], problems: list[Problem]) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        problems.append(Problem(f"{path}.{key}", f"{key} is missing: every price row needs one"))
        return ""
    if "*" in value.removesuffix("*") or (key == "provider" and "*" in value):
        allowed = "a pattern has its * at the end" if key == "model" else "a provider's name takes no *"
        problems.append(Problem(f"{path}.{key}", f"{value!r}: {allowed}"))
    return value


def _checked(path: str, parse: Any, value: object, problems: list[Problem], default: Any) -> Any:
    if value is None:
        return default
    try:
        return parse(value)
    except ValueError as error:
        problems.append(Problem(path, str(error)))
        return default


def _prices(path: str, raw: Mapping[str, Any], problems: list[Problem]) -> dict[str, Price]:
    prices = {}
    for name, value in raw.items():
        if name not in UNITS:
            known = ", ".join(UNITS)
            problems.append(Problem(f"{path}.{name}", f"is no unit of usage. Units are: {known}"))
            continue
        try:
            prices[name] = parse_price(name, value)
        except ValueError as error:
            problems.append(Problem(f"{path}.{name}", str(error)))
    return prices


def _tiers(path: str, raw: object, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Price]]]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        problems.append(Problem(f"{path}.tiers", "must be a list of {over_input_tokens, …prices}"))
        return
    for index, tier in enumerate(raw):
        where = f"{path}.tiers[{index}]"
        names = [name for name in _THRESHOLDS if isinstance(tier, Mapping) and name in tier]
        bound = tier[names[0]] if len(names) == 1 else None
        if isinstance(bound, bool) or not isinstance(bound, int) or bound < 0:
            problems.append(Problem(where, "needs over_input_tokens (or from_input_tokens), a whole number of tokens"))
            continue
        prices = _prices(where, {name: value for name, value in tier.items() if name not in _THRESHOLDS}, problems)
        yield bound - (names[0] == "from_input_tokens"), prices
