"""From the runs' figures to medians, ratios, a table and a file."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.peers import PEERS

Runs = Mapping[str, Sequence[Mapping[str, float]]]


class Row(NamedTuple):
    """A line of the table: its figure, and how that reads. `open_p50_ms` and the like are the direct call's own."""

    title: str
    figure: str
    shown: Callable[[float], str]
    direct: str | None = None


def _of(digits: int, unit: str = "") -> Callable[[float], str]:
    return lambda value: f"{value:,.{digits}f}{unit}"


def _percent(value: float) -> str:
    return f"{value:.1%}"


ROWS = (
    Row("unary, 32 connections: requests/s", "unary_rps", _of(0), "unary_rps"),
    Row("  CPU per call, work put off included", "unary_cpu_us", _of(0, " µs")),
    Row("  of it after the load had ended", "unary_cpu_after_us", _of(0, " µs")),
    Row("  of it recorder and control process", "entry_cpu_us", _of(0, " µs")),
    Row("  p99", "unary_p99_ms", _of(2, " ms")),
    Row("open loop: calls/s", "open_rate", _of(0)),
    Row("  added p50 (direct: its own)", "added_p50_ms", _of(2, " ms"), "open_p50_ms"),
    Row("  added p99 (direct: its own)", "added_p99_ms", _of(2, " ms"), "open_p99_ms"),
    Row("at 1,000 calls/s: added p50 (direct: its own)", "brisk_p50_ms", _of(2, " ms"), "brisk_p50_ms"),
    Row("  added p99 (direct: its own)", "brisk_p99_ms", _of(2, " ms"), "brisk_p99_ms"),
    Row("an agent's request of 630 KB, chat: CPU", "agent_openai_cpu_ms", _of(2, " ms")),
    Row("  Anthropic's messages", "agent_anthropic_cpu_ms", _of(2, " ms")),
    Row("  Responses", "agent_responses_cpu_ms", _of(2, " ms")),
    Row("streams at 50 chunks/s each", "streams", _of(0)),
    Row("  CPU per chunk", "chunk_cpu_us", _of(1, " µs")),
    Row("  age of a chunk, p50", "chunk_p50_ms", _of(2, " ms"), "chunk_p50_ms"),
    Row("  age of a chunk, p99", "chunk_p99_ms", _of(2, " ms"), "chunk_p99_ms"),
    Row("128 racing calls: overshoot", "overshoot_share", _percent),
    Row("  usable share of the budget", "usable_share", _percent),
    Row("ready, from exec to first answer", "ready_s", _of(2, " s")),
    Row("  CPU until then", "ready_cpu_s", _of(2, " s")),
    Row("memory (PSS of the tree), when ready", "pss_ready_mb", _of(0, " MB")),
    Row("  after the load", "pss_mb", _of(0, " MB")),
)


class Ratio(NamedTuple):
    """A figure of `own` over that of another peer, and what this project wants of it. `_EARLIER` is any commit (`--against`)."""

    title: str
    figure: str
    other: str
    wanted: str = ""
    own: str = "taximeter"


_EARLIER = "taximeter-"  # and a commit

# What this project has aims for is shown of both: as it is installed, and of the wheel with machine code.
_OWN = {"taximeter": "", "taximeter-compiled": ", machine code"}

RATIOS = (
    *(
        Ratio(f"{title}{kind}", figure, other, wanted, own)
        for own, kind in _OWN.items()
        for title, figure, other, wanted in (
            ("unary requests/s", "unary_rps", "envoy", "at least 0.5"),
            ("unary requests/s", "unary_rps", "litellm", "at least 120"),
            ("CPU per call", "unary_cpu_us", _EARLIER, "at most 0.33 of 819fbf9's"),
            ("CPU per chunk", "chunk_cpu_us", "envoy", "at most 1.1"),
            ("added p50 at 1,000 calls/s", "brisk_p50_ms", "envoy", "at most 2"),
            ("added p99 at 1,000 calls/s", "brisk_p99_ms", "envoy", "at most 3"),
            *(
                (f"an agent's request, {dialect}, CPU", f"agent_{dialect}_cpu_ms", _EARLIER, "at most 0.5 of 819fbf9's")
                for dialect in ("openai", "anthropic", "responses")
            ),
        )
    ),
    Ratio("CPU per call, leases in Redis", "unary_cpu_us", "taximeter", "at most 1.25", "taximeter-redis"),
    Ratio("CPU per call, machine code", "unary_cpu_us", "taximeter", own="taximeter-compiled"),
    Ratio("unary requests/s", "unary_rps", "direct"),
    Ratio("CPU per call", "unary_cpu_us", "envoy"),
    Ratio("an agent's request, openai, CPU", "agent_openai_cpu_ms", "envoy"),
    Ratio("CPU per chunk", "chunk_cpu_us", "litellm"),
    Ratio("memory after the load", "pss_mb", "litellm"),
    Ratio("time to ready", "ready_s", "litellm"),
)

# What it wants of itself, whatever others need: figure, and the most.
TARGETS = (
    ("recorder and control process, CPU per entry", "entry_cpu_us", 30, _of(0, " µs")),
    ("memory of the whole tree after the load", "pss_mb", 90, _of(0, " MB")),
    ("ready after serve", "ready_s", 0.5, _of(2, " s")),
)


def medians(runs: Runs) -> dict[str, dict[str, float]]:
    """The median of each figure over a peer's runs."""
    return {
        peer: {name: statistics.median(one[name] for one in figures if name in one) for name in figures[0]}
        for peer, figures in runs.items()
        if figures
    }


def ratios(runs: Runs) -> list[dict[str, Any]]:
    """Taximeter's figures over the others': the median over the runs in which both were measured. Within a run peers take turns,
    so that a machine that is slow for a while is so for both; two medians may be of different whiles."""
    found = []
    for ratio in RATIOS:
        figure = ratio.figure
        for peer, figures in runs.items():
            is_it = peer == ratio.other or (ratio.other == _EARLIER and peer.startswith(_EARLIER) and peer not in PEERS)
            pairs = zip(runs.get(ratio.own, ()), figures, strict=False)  # some peers have fewer runs, the first ones
            each = [own[figure] / other[figure] for own, other in pairs if figure in own and other.get(figure)]
            if is_it and each:
                one = {"what": f"{ratio.title} / {peer}'s", "ratio": statistics.median(each), "wanted": ratio.wanted}
                found.append(one | {"least": min(each), "most": max(each)})
    return found


def table(runs: Runs) -> str:
    """The medians side by side, a peer a column, and the ratios below."""
    middle = medians(runs)
    peers = list(middle)
    lines = [["", *peers]]
    for row in ROWS:
        cells = [middle[peer].get((row.direct or "") if peer == "direct" else row.figure) for peer in peers]
        if any(cell is not None for cell in cells):
            lines.append([row.title, *("" if cell is None else row.shown(cell) for cell in cells)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(peers) + 1)]
    text = [
        line[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    ]
    compared = ratios(runs)
    if compared:
        width = max(len(one["what"]) for one in compared)
        text += ["", "taximeter's, as a multiple of: run by run, the median (least to most)"]
        text += [
            f"  {one['what'].ljust(width)}  {one['ratio']:8.2f}  ({one['least']:.2f} to {one['most']:.2f})  {one['wanted']}".rstrip()
            for one in compared
        ]
    text += [
        f"{peer}'s {title}: {shown(own[figure])}, wanted at most {shown(most)}"
        for peer in _OWN
        for title, figure, most, shown in TARGETS
        if figure in (own := middle.get(peer, {}))
    ]
    return "\n".join(text)
