"""Everything that one configuration says about calls: made whole, swapped in one assignment, held by each call that began
with it. A reload never prices, routes or counts a call in flight by another configuration than its ceiling was made with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from pricing.book import Book
from pricing.values import Value, frozen
from proxy.access.routes import Router
from proxy.bounded_table import BoundedTable
from proxy.budgets.budget import BudgetIndex, Raise, compile_budgets
from proxy.budgets.key_limits import KeyLimits, key_budgets
from proxy.config.model import Config
from proxy.config.own_prices import priced_by
from proxy.dialects import Endpoint
from proxy.errors import dialect_not_supported
from proxy.exchange.kinds import Key, Kind
from proxy.jobs.api import JobEndpoint
from proxy.types import Call, Route
from proxy.upstream.destinations import TRANSLATION, Destination, destinations_of
from proxy.upstream.pool import UpstreamClient
from proxy.upstream.server_limits import ServerLimits

_MAX_FACTS = 10_000
_MAX_KINDS = 1000
_BEHIND_ITS_END_S = 3600  # of what is kept for a time: to see that it has ended


@frozen
class ModelFacts(Value):
    """A model's limits (None: unknown), whether it has a price, its provider's name in the book, and the units that the
    operator has prices of his own for; good until `until_s`."""

    context_tokens: int | None
    max_output_tokens: int | None
    priced: bool
    canonical: str
    until_s: float
    own_units: frozenset[str] = frozenset()


@frozen
class Configured:
    """`facts` is what was looked up in the book, kept for a minute each; `limits` what local servers said of theirs;
    `kinds` what plans of calls that look alike have in common."""

    config: Config
    router: Router
    book: Book
    budgets: BudgetIndex
    upstreams: UpstreamClient
    destinations: Mapping[tuple[str, str], Destination]
    facts: BoundedTable[tuple[str, ...], ModelFacts] = field(default_factory=lambda: BoundedTable(_MAX_FACTS))
    limits: ServerLimits = field(default_factory=ServerLimits)
    kinds: BoundedTable[Key, Kind] = field(default_factory=lambda: BoundedTable(_MAX_KINDS))

    def destination(self, route: Route, endpoint: Endpoint) -> Destination:
        """Raises `Refused` (400) where the upstream does not speak the dialect and nobody translates for it."""
        family = endpoint.family.name
        destination = None
        if endpoint.translatable:
            destination = self.destinations.get((route.upstream, TRANSLATION + endpoint.translatable))
        destination = destination or self.destinations.get((route.upstream, family))
        if destination is None:
            raise dialect_not_supported(route.requested, family)
        return destination

    def longest_s(self, endpoint: Endpoint, call: Call) -> int:
        """How long the reservation of a call of this kind stands."""
        if isinstance(endpoint, JobEndpoint):
            return max(self.config.jobs.max_s, call.kept_s + _BEHIND_ITS_END_S if call.kept_s else 0)
        return self.config.server.max_call_s

    def facts_of(self, provider: str, model: str, now_s: float, answers: Sequence[str] | None = None) -> ModelFacts:
        """What the price book says of a model, looked up again every minute; of all together, where others may answer."""
        if answers:
            return self._facts_of_all(provider, (model, *answers), now_s)
        key = (provider, model)
        facts = self.facts.get(key)
        if facts is None or facts.until_s <= now_s:
            limits = self.book.limits(provider, model)
            priced = self.book.is_priced(provider, model, int(now_s))
            canonical = self.book.catalog.canonical(provider)
            until_s = now_s // 60 * 60 + 60
            own = self.book.own_units(provider, model, int(now_s))
            facts = ModelFacts(limits.context_tokens, limits.max_output_tokens, priced, canonical, until_s, own)
            self.facts[key] = facts
        return facts

    def _facts_of_all(self, provider: str, models: tuple[str, ...], now_s: float) -> ModelFacts:
        """The largest limits of several models, None where that of one is unknown; priced where all are."""
        key = (provider, *models)
        facts = self.facts.get(key)
        if facts is None or facts.until_s <= now_s:
            each = [self.facts_of(provider, model, now_s) for model in models]
            facts = self.facts[key] = ModelFacts(
                _largest([one.context_tokens for one in each]),
                _largest([one.max_output_tokens for one in each]),
                all(one.priced for one in each),
                each[0].canonical,
                each[0].until_s,
                frozenset.intersection(*[one.own_units for one in each]),
            )
        return facts


def _largest(limits: Sequence[int | None]) -> int | None:
    return None if None in limits else max(limit for limit in limits if limit is not None)


def configure(
    config: Config,
    environ: Mapping[str, str],
    book: Book,
    raises: Sequence[Raise] = (),
    limits: Sequence[KeyLimits] = (),
    *,
    alone: Callable[[], bool],
) -> Configured:
    """What `config` says, with upstream connections of its own.

    book: without anything of the operator's. alone: whether there is but one key that could use the connections.
    """
    upstreams = UpstreamClient(alone)
    return Configured(
        config=config,
        router=Router(config.models, config.upstreams),
        book=priced_by(config, book),
        budgets=budgets_of(config, raises, limits),
        upstreams=upstreams,
        destinations=destinations_of(config, environ, upstreams),
    )


def budgets_of(config: Config, raises: Sequence[Raise], limits: Sequence[KeyLimits]) -> BudgetIndex:
    """The configuration's budgets and those that keys were made with, ready to match."""
    return BudgetIndex(compile_budgets(config.budgets, raises) + key_budgets(limits, raises))
