"""`capacity`: machines of one's own, and what they cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, cast

from pricing.values import frozen
from proxy.capacity.carbon import grids
from proxy.capacity.rates import Rates, Step
from proxy.capacity.split import Terms
from proxy.config.addresses import wrong_with_url
from proxy.config.fields import Name, Names, OrText, Text, Usd, money
from proxy.config.problems import Problem
from proxy.config.rules import Rule, Section, after, before, within
from proxy.money import NANO
from proxy.times import instant

_ALWAYS = "1970-01-01T00:00:00Z"
Moment = Annotated[datetime, before(instant)]
Units = Annotated[int, within(ge=0, le=1_000_000, strict=True), OrText]


def _metrics_url(url: str) -> str:
    if what := wrong_with_url(url, with_query=True):
        raise ValueError(f"{what}; it is a Prometheus exposition's, such as http://127.0.0.1:8000/metrics")
    return url


MetricsUrl = Annotated[str, after(_metrics_url)]


def _dated(name: str, check: Callable[[Any], Any], written: Any) -> Rule:
    """A value that always holds, or rows of when it begins to hold."""

    def rows(value: Any) -> Any:
        if isinstance(value, list | tuple):
            if not value:
                raise ValueError(f"needs a value, or rows such as {{from: 2026-11-01, {name}: …}}")
            return value
        return ({"from": _ALWAYS, name: check(value)},)

    return before(rows, written=written)


def _units(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise ValueError("must be a whole number of machines, at least 1")
    return value


@frozen
class PriceFrom(Section):
    from_: Moment
    """When it begins to hold: a date or a time (UTC, unless it names a zone)."""
    usd_per_hour: Usd
    """USD an hour of one unit."""


@frozen
class UnitsFrom(Section):
    from_: Moment
    """When so many are there: a date or a time (UTC, unless it names a zone)."""
    units: Units
    """How many; 0 where none is rented."""


@frozen
class Power(Section):
    """What one unit draws, or the meter that says so."""

    watts: Annotated[float, within(gt=0, le=1_000_000)] | None = None
    """Watts of one unit while something runs. Energy from it is an estimate."""
    idle_watts: Annotated[float, within(ge=0, le=1_000_000)] | None = None
    """Watts of one unit while nothing runs. Default: as `watts`."""
    metrics_url: MetricsUrl | None = field(default=None, repr=False)
    """A DCGM exporter's metrics, whose energy counters are of these machines alone."""


@frozen
class Co2(Section):
    """How much carbon dioxide the power stands for."""

    country: str | None = None
    """Country whose grid it comes from (ISO 3166, three letters: `USA`), by the year's mean that comes with Taximeter."""
    grams_per_kwh: Annotated[float, within(ge=0, le=10_000)] | None = None
    """Grams of CO2e for a kWh, in place of the country's."""


@frozen
class Capacity(Section):
    __pydantic_config__ = Section.__pydantic_config__ | {"validate_default": True}  # of `units`

    name: Name
    """The capacity's identity: what is in the books stays with the name."""
    upstreams: Names
    """Upstreams whose calls share its cost."""
    usd_per_hour: Annotated[tuple[PriceFrom, ...], _dated("usd_per_hour", money, Decimal | tuple[PriceFrom, ...])]
    """USD an hour of one unit: an amount, or dated rows `[{from, usd_per_hour}]`."""
    units: Annotated[tuple[UnitsFrom, ...], _dated("units", _units, int | tuple[UnitsFrom, ...])] = cast(Any, 1)
    """GPUs or machines that are rented: a number, or dated rows `[{from, units}]`."""
    share: Literal["tokens", "time"] = "tokens"
    """How calls that run at once share what a second costs. `tokens`: within each minute by the work done, uncached input and
    output tokens. `time`: equally.
    """
    price: Literal["listed", "capacity"] = "listed"
    """`capacity`: a call costs its share of the machines, once that is known, and no longer what its price says."""
    metrics_url: MetricsUrl | None = field(default=None, repr=False)
    """The server's own counters (vLLM, SGLang, llama.cpp, TensorRT-LLM). Without them, what others do there is not seen and
    an output token counts as four of input.
    """
    metrics_key: Text | None = field(default=None, repr=False)
    """Bearer token for `metrics_url`, where that wants one."""
    power: Power | None = None
    """What the machines draw. Without it energy is unknown."""
    usd_per_kwh: Usd | None = None
    """USD for a kWh that `usd_per_hour` does not include."""
    co2: Co2 | None = None
    """What a kWh stands for in carbon dioxide. Without it that is unknown."""
    compare: Names = ()
    """Models (`provider/model`) that the same tokens are priced at."""

    def terms(self) -> Terms:
        """What its minutes are closed by."""
        power = self.power or Power()
        watts = power.watts
        idle = watts if power.idle_watts is None else power.idle_watts
        return Terms(
            self.rates(),
            self.share,
            None if watts is None or idle is None else (round(watts * 1000), round(idle * 1000)),
            power.metrics_url is not None,
            int((self.usd_per_kwh or 0) * NANO),
        )

    def rates(self) -> Rates:
        """Its cost at any time."""
        return Rates(
            [Step(_us(row.from_), int(row.usd_per_hour * NANO)) for row in self.usd_per_hour],
            [Step(_us(row.from_), row.units) for row in self.units],
        )

    def grams_per_kwh(self) -> float | None:
        """None where it is unknown."""
        if self.co2 is None:
            return None
        return self.co2.grams_per_kwh if self.co2.country is None else grids()[self.co2.country].grams_per_kwh


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def check_capacity(rows: Sequence[Capacity], indices: Sequence[int], upstreams: Collection[str]) -> list[Problem]:
    """What one capacity has to do with another, and with the upstreams of the file."""
    problems: list[Problem] = []
    names: set[str] = set()
    taken: dict[str, str] = {}
    for index, row in zip(indices, rows, strict=True):
        here = f"capacity[{index}]"
        if row.name in names:
            problems.append(Problem(f"{here}.name", f"{row.name!r} is another capacity's name"))
        names.add(row.name)
        if not row.upstreams:
            problems.append(Problem(f"{here}.upstreams", "names no upstream, so no call would share its cost"))
        for upstream in row.upstreams:
            if upstream not in upstreams:
                upstream_names = ", ".join(sorted(upstreams)) or "none"
                problems.append(
                    Problem(f"{here}.upstreams", f"{upstream!r} is not an upstream (there are: {upstream_names})")
                )
            elif upstream in taken:
                problems.append(Problem(f"{here}.upstreams", f"{upstream!r} belongs to {taken[upstream]!r} already"))
            taken.setdefault(upstream, row.name)
        problems += _check_one(row, here)
    return problems


def _check_one(row: Capacity, here: str) -> Iterator[Problem]:
    for name, dated in (("usd_per_hour", row.usd_per_hour), ("units", row.units)):
        moments = [step.from_ for step in dated]
        if any(a >= b for a, b in itertools.pairwise(moments)):
            yield Problem(f"{here}.{name}", "must have its rows in the order of `from`, each with a time of its own")
    if row.power is not None and (row.power.watts is None) == (row.power.metrics_url is None):
        yield Problem(f"{here}.power", "needs exactly one of watts and metrics_url")
    elif row.power is not None and row.power.watts is None and row.power.idle_watts is not None:
        yield Problem(f"{here}.power.idle_watts", "goes with watts only")
    if row.power is None and row.usd_per_kwh is not None:
        yield Problem(f"{here}.usd_per_kwh", "needs `power`, without which no kWh is known")
    if row.power is None and row.co2 is not None:
        yield Problem(f"{here}.co2", "needs `power`, without which no kWh is known")
    if row.co2 is not None and (row.co2.country is None) == (row.co2.grams_per_kwh is None):
        yield Problem(f"{here}.co2", "needs exactly one of country and grams_per_kwh")
    elif row.co2 is not None and row.co2.country is not None and row.co2.country not in grids():
        yield Problem(
            f"{here}.co2.country", f"{row.co2.country!r} is not known; take three letters (ISO 3166), or grams_per_kwh"
        )
    if row.metrics_key is not None and row.metrics_url is None:
        yield Problem(f"{here}.metrics_key", "goes with metrics_url only")
    for number, model in enumerate(row.compare):
        provider, slash, name = model.partition("/")
        if not (provider and slash and name):
            yield Problem(f"{here}.compare[{number}]", f"{model!r} must be provider/model, such as openai/gpt-5-mini")
