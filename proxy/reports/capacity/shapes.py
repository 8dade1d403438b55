"""How a capacity's report leaves, for the API and the command line alike: money as decimal strings, what is unknown as null."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from proxy.capacity.runs import Tokens
from proxy.money import usd_text
from proxy.reports.capacity.costs import CapacityReport, Level
from proxy.reports.shapes import Shown
from proxy.times import rfc3339

_NINE = Decimal("1e-9")


class PerMillion(Shown):
    """USD per million tokens: of uncached input, of output, of all with the cached ones. null where there were none."""

    input: str | None
    output: str | None
    all: str | None


class Bases(Shown):
    """use: what the calls' own time cost. whole: with the time that nobody used."""

    use: PerMillion
    whole: PerMillion


class ComparedShown(Shown):
    """The same tokens at a provider; null where the price book has no price for them. break_even_ratio: the share of its time
    that the capacity has to be used to cost as much; cheaper: whether it costs less as it is used today."""

    model: str
    usd: str | None
    usd_per_million: str | None
    break_even_ratio: float | None
    cheaper: bool | None


class PrefixCache(Shown):
    """Input that was read from the server's cache, and what it would have cost to compute."""

    tokens: int
    saved_usd: str


class Speculative(Shown):
    """Drafts that were made, taken and thrown away; tokens of one step with a draft. null: the server states the means only."""

    drafted: int | None
    accepted: int | None
    rejected: int | None
    accepted_ratio: float | None
    tokens_per_step: float | None


class LevelShown(Shown):
    """What it cost while so many calls ran at once (beyond 8: up to so many)."""

    calls_at_once: int
    seconds: float
    usd: str
    input_tokens: int
    output_tokens: int
    output_tokens_per_s: float
    usd_per_million_output: str | None
    usd_per_million: str | None


class Levers(Shown):
    """What the techniques earn. null: the server does not say."""

    prefix_cache: PrefixCache
    speculative_decoding: Speculative | None
    batching: list[LevelShown]
    preemptions: int | None


class ServerShown(Shown):
    """What the server's own counters said, and in how many minutes it could be asked. prefill_s, decode_s: seconds of its
    requests, or of its GPU, as it counts them; null: it does not say."""

    minutes: int
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    prefill_s: float | None
    decode_s: float | None
    steps: int | None
    running: float | None
    waiting: float | None
    kv_cache_used: float | None


class WeightsShown(Shown):
    """What a token of input and one of output count; measured by the server's own times, or assumed."""

    input: float
    output: float
    measured: bool


class GroupShown(BaseModel):
    """What the calls of one group had. Its values stand beside the sums, by the names that were asked for."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str | None] = Field(init=False)

    requests: int
    usage: dict[str, int]
    capacity_usd: str
    usd_per_million: str | None
    joules: float | None

    @model_serializer(mode="wrap")
    def _group_first(self, serialize: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a type would stand in the schema for the fields
        return (self.__pydantic_extra__ or {}) | serialize(self)


class CapacityShown(Shown):
    """One capacity in one span of whole minutes. cost = busy + idle + outside; the groups add up to busy.

    provisional_since: minutes from there on are not closed yet. break_even_ratio: against the cheapest model of `compare`.
    energy_source: `meter`, `estimated`, `mixed`. problem: why its server or its meter cannot be asked, in the words of the
    instance that keeps its books; null elsewhere.
    """

    name: str
    since: str | None
    until: str | None
    provisional_since: str | None
    cost_usd: str
    busy_usd: str
    idle_usd: str
    outside_usd: str
    unobserved_s: float
    busy_ratio: float | None
    mean_concurrency: float | None
    requests: int
    usage: dict[str, int]
    usd_per_million: Bases
    compare: list[ComparedShown]
    break_even_ratio: float | None
    joules: float | None
    joules_per_token: float | None
    energy_source: str | None
    co2e_g: float | None
    weights: WeightsShown
    server: ServerShown | None
    levers: Levers
    groups: list[GroupShown]
    problem: str | None = None


def per_million(nanousd: int, tokens: int) -> str | None:
    """USD, to the nano-dollar."""
    if not tokens:
        return None
    return f"{(Decimal(nanousd) / 1000 / tokens).quantize(_NINE).normalize():f}"


def capacity_shown(report: CapacityReport, by: tuple[str, ...] = (), problem: str | None = None) -> CapacityShown:
    sums, tokens = report.sums, report.tokens
    energy = report.energy_millijoules
    compare = [_compared(report, model.model, model.nanousd) for model in report.compared]
    ratios = [one.break_even_ratio for one in compare if one.break_even_ratio is not None]
    return CapacityShown(
        name=report.name,
        since=rfc3339(report.since),
        until=rfc3339(report.until),
        provisional_since=rfc3339(report.provisional_since),
        cost_usd=usd_text(sums["cost_nanousd"]),
        busy_usd=usd_text(sums["busy_nanousd"]),
        idle_usd=usd_text(sums["idle_nanousd"]),
        outside_usd=usd_text(sums["outside_nanousd"]),
        unobserved_s=sums["unobserved_us"] / 1e6,
        busy_ratio=_ratio(sums["busy_us"], sums["time_us"]),
        mean_concurrency=_ratio(sums["calls_us"], sums["busy_us"]),
        requests=sums["requests"],
        usage=_usage(tokens),
        usd_per_million=Bases(use=_prices(report, sums["busy_nanousd"]), whole=_prices(report, report.whole_nanousd)),
        compare=compare,
        break_even_ratio=max(ratios, default=None),
        joules=None if energy is None else energy / 1000,
        joules_per_token=None if energy is None else _ratio(energy / 1000, sum(tokens)),
        energy_source=None if energy is None else _source(report),
        co2e_g=report.co2e_g,
        weights=WeightsShown(
            input=report.weights.input / report.weights.input,
            output=round(report.weights.output / report.weights.input, 4),
            measured=report.weights.measured,
        ),
        server=_server(report),
        levers=_levers(report),
        groups=_groups(report, by),
        problem=problem,
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _usage(tokens: Tokens) -> dict[str, int]:
    return {unit: amount for unit, amount in tokens._asdict().items() if amount}


def _source(report: CapacityReport) -> str:
    return "mixed" if len(report.sources) > 1 else next(iter(report.sources), "estimated")


def _prices(report: CapacityReport, nanousd: int) -> PerMillion:
    """Input and output by what of the busy time's cost each was."""
    tokens, busy = report.tokens, report.sums["busy_nanousd"]
    of_input = nanousd * report.sums["input_nanousd"] // busy if busy else 0
    return PerMillion(
        input=per_million(of_input, tokens.input),
        output=per_million(nanousd - of_input, tokens.output),
        all=per_million(nanousd, sum(tokens)),
    )


def _compared(report: CapacityReport, model: str, nanousd: int | None) -> ComparedShown:
    return ComparedShown(
        model=model,
        usd=None if nanousd is None else usd_text(nanousd),
        usd_per_million=None if nanousd is None else per_million(nanousd, sum(report.tokens)),
        break_even_ratio=None if not nanousd else report.sums["busy_nanousd"] / nanousd,
        cheaper=None if not nanousd else report.whole_nanousd < nanousd,
    )


def _server(report: CapacityReport) -> ServerShown | None:
    server = report.server
    if not server.get("minutes"):
        return None

    def count(name: str) -> int | None:
        return round(server[name]) if name in server else None

    def seconds(name: str) -> float | None:
        return server[name] / 1e6 if name in server else None

    return ServerShown(
        minutes=int(server["minutes"]),
        prompt_tokens=count("prompt"),
        cached_tokens=count("cached"),
        output_tokens=count("output"),
        prefill_s=seconds("prefill_us"),
        decode_s=seconds("decode_us"),
        steps=count("steps"),
        running=report.mean("running"),
        waiting=report.mean("waiting"),
        kv_cache_used=report.mean("kv_used"),
    )


def _levers(report: CapacityReport) -> Levers:
    server, sums = report.server, report.sums
    cached = sums["cache_read_tokens"] + round(server.get("untold", 0))
    return Levers(
        prefix_cache=PrefixCache(tokens=cached, saved_usd=usd_text(sums["saved_nanousd"])),
        speculative_decoding=_speculative(report),
        batching=[_level(calls, level) for calls, level in sorted(report.levels.items())],
        preemptions=round(server["preemptions"]) if "preemptions" in server else None,
    )


def _speculative(report: CapacityReport) -> Speculative | None:
    server = report.server
    drafted, accepted, drafts = server.get("drafted"), server.get("accepted"), server.get("drafts")
    if not drafted or accepted is None:
        per_step, ratio = report.mean("tokens_per_step"), report.mean("accepted_ratio")
        return (
            Speculative(drafted=None, accepted=None, rejected=None, accepted_ratio=ratio, tokens_per_step=per_step)
            if per_step
            else None
        )
    return Speculative(
        drafted=round(drafted),
        accepted=round(accepted),
        rejected=round(drafted - accepted),
        accepted_ratio=accepted / drafted,
        tokens_per_step=1 + accepted / drafts if drafts else report.mean("tokens_per_step"),
    )


def _level(calls: int, level: Level) -> LevelShown:
    return LevelShown(
        calls_at_once=calls,
        seconds=level.time_us / 1e6,
        usd=usd_text(level.nanousd),
        input_tokens=level.input,
        output_tokens=level.output,
        output_tokens_per_s=level.output * 1e6 / level.time_us if level.time_us else 0.0,
        usd_per_million_output=per_million(level.nanousd, level.output),
        usd_per_million=per_million(level.nanousd, level.input + level.output),
    )


def _groups(report: CapacityReport, by: tuple[str, ...]) -> list[GroupShown]:
    """The dearest first."""
    ordered = sorted(report.groups.items(), key=lambda item: (-item[1].nanousd, [str(value) for value in item[0]]))
    return [
        GroupShown(
            requests=group.requests,
            usage=_usage(group.tokens),
            capacity_usd=usd_text(group.nanousd),
            usd_per_million=per_million(group.nanousd, sum(group.tokens)),
            joules=None if group.millijoules is None or not report.metered else group.millijoules / 1000,
            **dict(zip(by, values, strict=True)),
        )
        for values, group in ordered
    ]
