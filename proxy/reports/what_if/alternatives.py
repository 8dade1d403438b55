"""One kind of calls at other prices: another model, tier, cache share or price list. Pure: usage and a book in, money out.

Tokens are not the same everywhere: two models make different numbers of tokens of one text. The band is what their tokenizers'
families are known to differ by: the factors of `pricing/tokens.py` (estimates beside OpenAI's o200k), up to the most that this
installation's own bills have shown (`learned-*.json`); within a family there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from pricing.book import Book
from pricing.cost import Cost
from pricing.units import TOKENS
from pricing.usage import Reading
from proxy.config.typed_price import TYPED
from proxy.times import BadQuestion

TIERS: Mapping[str, Mapping[str, str]] = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
_HOMES = (
    "openai",
    "anthropic",
    "google",
    "mistral",
    "xai",
    "deepseek",
    "moonshot",
    "zai",
    "dashscope",
    "cohere",
    "groq",
)
_WRITES = ("cache_write_5m", "cache_write_30m", "cache_write_1h")
_CACHED_SIDE = ("input", "cache_read", *_WRITES)
_ZERO = Decimal(0)

Usage = Mapping[str, Decimal]


class Swap(NamedTuple):
    """Calls of `model` (a trailing * fits more) by another one: at its provider, under its name there."""

    model: str
    provider: str
    to: str


class Change(NamedTuple):
    """What is otherwise. cache: the share of the input side that is read from a cache. file: a book with the other prices and
    without the operator's own. own: the operator's book with a price that was typed before all others."""

    swaps: Sequence[Swap] = ()
    tier: str | None = None
    cache: Decimal | None = None
    file: Book | None = None
    own: Book | None = None

    @property
    def is_local(self) -> bool:
        """Whether it concerns the models alone that it names."""
        return self.tier is None and self.cache is None and self.file is None


class Kind(NamedTuple):
    """Calls that are alike: their usage a call, their conditions; `cost` is what all of them cost, in nano-USD;
    unpriced: nobody knows that."""

    provider: str
    model: str
    conditions: Mapping[str, str]
    usage: Usage
    calls: int
    cost: int
    unpriced: bool = False


class Band(NamedTuple):
    """Tokens of one model for each of another's: most likely, at least, at most."""

    likely: Fraction
    low: Fraction
    high: Fraction


class Alternative(NamedTuple):
    """What the calls would cost (exact nano-USD); the caveats name what the number rests on."""

    to: str
    likely: Fraction
    low: Fraction
    high: Fraction
    caveats: Sequence[str]


SAME = Band(Fraction(1), Fraction(1), Fraction(1))


def swap_of(text: str, book: Book, at_s: int) -> Swap:
    """`gpt-5=claude-haiku-4-5` or `gpt-5=aws/claude-haiku-4-5`. Raises `BadQuestion`."""
    model, equals, target = (part.strip() for part in text.partition("="))
    if not equals or not model or not target:
        raise BadQuestion(f"{text!r}: a swap is written FROM=TO, such as gpt-5=claude-haiku-4-5")
    provider, slash, name = target.partition("/")
    if slash and book.is_priced(provider, name, at_s):
        return Swap(model, provider, name)
    for home in (*_HOMES, *sorted(book.catalog.lines)):
        if book.is_priced(home, target, at_s):
            return Swap(model, home, target)
    raise BadQuestion(f"{target!r} has no price: name a model of the price book, or PROVIDER/MODEL")


def names(swap: Swap, book: Book, kind: Kind, at_s: int) -> bool:
    """Whether the swap is for this model: by its name, by a pattern, or by the name that the price book has for it."""
    wanted, model = swap.model.lower(), kind.model.lower()
    if wanted.endswith("*"):
        return model.startswith(wanted[:-1])
    known = book.catalog.find(book.catalog.canonical(kind.provider), model, at_s)
    return wanted == model or (known is not None and wanted == known.name)


def band(model: str, to: str, learned: Mapping[str, float]) -> Band:
    """learned: tokenizer family -> the most tokens that were seen for one of o200k."""
    from pricing.tokens import family  # noqa: PLC0415 - it brings a tokenizer along

    own, other = family(model), family(to)
    if (own.name, own.encoding) == (other.name, other.encoding):
        return SAME
    (low, likely, high), (their_low, theirs, their_high) = (
        _beside_o200k(kind.name, kind.factor, learned) for kind in (own, other)
    )
    return Band(theirs / likely, their_low / high, their_high / low)


def _beside_o200k(name: str, factor: float, learned: Mapping[str, float]) -> tuple[Fraction, Fraction, Fraction]:
    """A family that publishes its tokenizer is what it is; another makes from as many tokens as o200k to twice what is
    estimated beyond them, or the most that a bill has shown."""
    if name == "openai":
        return Fraction(1), Fraction(1), Fraction(1)
    likely = Fraction(str(factor))
    most = max(2 * likely - 1, Fraction(str(round(learned.get(name, 1.0), 4))))
    return Fraction(1), likely, most


def is_typed(cost: Cost) -> bool:
    """Whether a row that was typed says what something of it costs."""
    return any(line.source == TYPED for line in cost.lines)


def alternative(kind: Kind, change: Change, book: Book, learned: Mapping[str, float], at_s: int) -> Alternative | str:
    """The calls as they would be; or why that cannot be said ("": nobody knows what they cost, and nothing says it now)."""
    swap = next((one for one in change.swaps if names(one, book, kind, at_s)), None)
    provider, model = (swap.provider, swap.to) if swap else (kind.provider, kind.model)
    conditions = dict(kind.conditions)
    if swap:
        conditions = {name: value for name, value in conditions.items() if name in ("service_tier", "processing")}
    if change.tier:
        conditions = {name: value for name, value in conditions.items() if name not in ("service_tier", "processing")}
        conditions |= TIERS[change.tier]
    usage, caveats = dict(kind.usage), []
    if change.cache is not None:
        usage = _cached(usage, change.cache)
        caveats.append(
            f"{change.cache:f} of the input is taken to be read from a cache; writes to it stay, where there is room"
        )
    prices = change.file or change.own or book
    cost = _cost(prices, provider, model, conditions, usage, at_s)
    if kind.unpriced and not is_typed(cost):
        return ""
    if swap is None and change.is_local and not is_typed(cost):
        same = Fraction(kind.cost)
        return Alternative(kind.model, same, same, same, ["not changed: as it was"])
    missing = _why_not(cost, change, kind, model)
    if missing is None and change.tier:
        missing = _no_tier(prices, provider, model, conditions, usage, cost, change.tier, at_s)
    if missing is None and change.cache is not None and usage.get("cache_read"):
        missing = _no_cache_price(cost, model)
    if missing is not None or cost.cost_usd is None:
        return missing or "its usage has no price there"
    if swap is None and change.file is None and not is_typed(cost):
        return _scaled(kind, book, cost, caveats, at_s)
    return _direct(kind, swap, cost, learned, caveats)


def _scaled(kind: Kind, book: Book, cost: Cost, caveats: Sequence[str], at_s: int) -> Alternative | str:
    """The same model at the same prices: whatever it was paid less for, a discount or a multiplier, it would be still."""
    now = _cost(book, kind.provider, kind.model, kind.conditions, kind.usage, at_s)
    if not now.cost_usd:
        return "its own price is not known, so there is nothing to compare with"
    likely = Fraction(kind.cost) * Fraction(cost.cost_usd or _ZERO) / Fraction(now.cost_usd)
    return Alternative(kind.model, likely, likely, likely, [*caveats, "scaled from what was really paid"])


def _direct(
    kind: Kind, swap: Swap | None, cost: Cost, learned: Mapping[str, float], caveats: Sequence[str]
) -> Alternative:
    """At the other model's prices, or the file's, with a band where tokenizers differ."""
    notes = list(caveats)
    width = band(kind.model, swap.to, learned) if swap else SAME
    of_tokens = sum((Fraction(line.cost_usd) for line in cost.lines if line.unit in TOKENS), Fraction(0))
    of_others = sum((Fraction(line.cost_usd) for line in cost.lines if line.unit not in TOKENS), Fraction(0))
    each = [(of_tokens * ratio + of_others) * 1_000_000_000 * kind.calls for ratio in width]
    if width != SAME:
        notes.append(
            f"its tokenizer is another: {float(width.low):.2f} to {float(width.high):.2f} tokens for one of {kind.model}, "
            f"{float(width.likely):.2f} taken (families' factors beside o200k, and this installation's own bills)"
        )
    if is_typed(cost):
        notes.append("at " + TYPED)
    if swap:
        notes.append("it is taken to write as long answers, and to reason as much")
    to = f"{swap.provider}/{swap.to}" if swap else kind.model
    return Alternative(to, each[0], each[1], each[2], notes)


def _cost(book: Book, provider: str, model: str, conditions: Mapping[str, str], usage: Usage, at_s: int) -> Cost:
    reading = Reading(usage=dict(usage), source="provider", conditions=conditions)
    return book.cost(reading, provider=provider, model=model, at_s=at_s)


def _cached(usage: dict[str, Decimal], share: Decimal) -> dict[str, Decimal]:
    """The input side with this share of it read from a cache; what was written to one stays so, as far as there is room."""
    whole = sum((usage.get(unit, _ZERO) for unit in _CACHED_SIDE), _ZERO)
    if not whole:
        return usage
    left = whole * (1 - share)
    usage["cache_read"] = whole * share
    for unit in _WRITES:
        if unit in usage:
            usage[unit] = min(usage[unit], left)
            left -= usage[unit]
    usage["input"] = left
    return {unit: amount for unit, amount in usage.items() if amount}


def _why_not(cost: Cost, change: Change, kind: Kind, model: str) -> str | None:
    if change.file is not None and not any((line.source or "").startswith("prices[") for line in cost.lines):
        return "the file has no price for it"
    if cost.cost_usd is None:
        priced = {line.unit for line in cost.lines}
        lacking = sorted(set(kind.usage) - priced)
        return f"{model} has no price for {', '.join(lacking)}" if lacking else f"{model} has no price"
    return None


def _no_tier(
    book: Book,
    provider: str,
    model: str,
    conditions: Mapping[str, str],
    usage: Usage,
    cost: Cost,
    tier: str,
    at_s: int,
) -> str | None:
    plain = {name: value for name, value in conditions.items() if name not in ("service_tier", "processing")}
    if _cost(book, provider, model, plain, usage, at_s).cost_usd == cost.cost_usd:
        return f"{model} has no {tier} price of its own"
    return None


def _no_cache_price(cost: Cost, model: str) -> str | None:
    price = {line.unit: line.price_usd / line.per for line in cost.lines}
    if "input" in price and price.get("cache_read") == price["input"]:
        return f"{model} has no price for reading from a cache"
    return None
