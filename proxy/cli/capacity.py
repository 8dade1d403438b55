"""`taximeter capacity`: what machines of one's own cost. Straight on the database, or through a server's API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, fail, show
from proxy.times import BadQuestion, moment, now_s, now_us

if TYPE_CHECKING:
    from proxy.cli.remote import Server
    from proxy.config.model import Config

app = new_app()

_BY = "team, model, key, user, customer, provider, upstream, session, agent; several with commas between."


@app.command("capacity")
def capacity(
    name: Annotated[str | None, typer.Argument(help="One of the configuration's. Default: all.")] = None,
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339). Default: all.")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    by: Annotated[str, typer.Option(help=_BY)] = "",
    compare: Annotated[tuple[str, str] | None, typer.Option(help="Two capacities side by side.", metavar="A B")] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """What your own machines cost, whose that was, and what the same tokens would have cost elsewhere."""
    if compare and (name or compare[0] == compare[1]):
        raise fail("--compare takes two capacities; leave out any other name", 2)
    wanted = compare or ((name,) if name else ())
    groups = tuple(part for part in by.split(",") if part)
    remote = server_of(server)
    if remote is not None:
        shown = _asked(remote, wanted, {"since": since, "until": until, "by": ",".join(groups)})
        if not shown:
            raise fail("there is no `capacity` in the server's configuration", 2)
    else:
        now = now_s()
        try:
            span = (moment(since, now) if since else None, moment(until, now) if until else None)
            shown = _reports(config_of(config), wanted, span, groups)
        except BadQuestion as problem:
            raise fail(str(problem), 2) from None
    if form == "json":
        print(json.dumps(shown[0] if name else shown, indent=2))
    elif groups:
        rows = [{"capacity": one["name"], **group} for one in shown for group in one["groups"]]
        flat = [row | {"usage": " ".join(f"{u}={n}" for u, n in row["usage"].items())} for row in rows]
        columns = ("capacity", *groups, "requests", "usage", "capacity_usd", "usd_per_million", "joules")
        show(flat, form, columns, "There is no call to report in this time.")
    elif form == "csv":
        flat = [dict(_figures(one)) for one in shown]
        show(flat, form, list(dict.fromkeys(name for row in flat for name in row)))
    else:
        _table(shown, form)


def _asked(server: Server, wanted: Sequence[str], question: Mapping[str, str | None]) -> list[dict[str, Any]]:
    if not wanted:
        return list(server.get("/api/capacity", **question)["items"])
    return [server.get(f"/api/capacity/{quote(name, safe='')}", **question) for name in wanted]


def _reports(
    settings: Config, wanted: Sequence[str], span: tuple[int | None, int | None], by: tuple[str, ...]
) -> list[dict[str, Any]]:
    from pricing.load import load_book
    from proxy.reports.capacity.costs import capacity_report
    from proxy.reports.capacity.shapes import capacity_shown

    rows = {row.name: row for row in settings.capacity}
    if not rows:
        raise fail("there is no `capacity` in the configuration (name the file with --config)", 2)
    for name in wanted:
        if name not in rows:
            raise fail(f"there is no capacity {name!r} in the configuration (there are: {', '.join(rows)})", 2)
    book = load_book().with_operator(settings.operator_prices())
    with opened(settings) as engine:
        return [
            capacity_shown(capacity_report(engine, rows[name], *span, now=now_us(), book=book, by=by), by).model_dump()
            for name in wanted or rows
        ]


def _table(shown: Sequence[Mapping[str, Any]], form: str) -> None:
    """A row a figure, a column a capacity: so that several stand side by side."""
    columns = {one["name"]: dict(_figures(one)) for one in shown}
    figures = list(dict.fromkeys(name for column in columns.values() for name in column if name != "name"))
    rows = [{"": figure, **{name: column.get(figure) for name, column in columns.items()}} for figure in figures]
    rows = [{key: "–" if value is None else value for key, value in row.items()} for row in rows]
    show(rows, form, ("", *columns))


def _figures(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The report as names and values. What is unknown is None."""
    plain = ("name", "since", "until", "provisional_since", "cost_usd", "busy_usd", "idle_usd", "outside_usd")
    figures = [(name, row[name]) for name in plain]
    figures += [(name, _short(row[name])) for name in ("unobserved_s", "busy_ratio", "mean_concurrency")]
    figures.append(("requests", row["requests"]))
    figures += [(f"{unit}_tokens", row["usage"].get(unit, 0)) for unit in ("input", "cache_read", "output")]
    for basis, prices in row["usd_per_million"].items():
        figures += [(f"usd_per_million.{basis}.{unit}", price) for unit, price in prices.items()]
    for other in row["compare"]:
        model = other["model"]
        figures += [(f"{model}: usd", other["usd"]), (f"{model}: usd_per_million", other["usd_per_million"])]
        figures.append((f"{model}: break_even_ratio", _short(other["break_even_ratio"])))
        verdict = {None: None, True: "this capacity", False: model}[other["cheaper"]]
        figures.append((f"{model}: cheaper today", verdict))
    figures += [(name, _short(row[name])) for name in ("joules", "joules_per_token", "co2e_g")]
    figures.append(("energy_source", row["energy_source"]))
    weights = row["weights"]
    figures.append(
        ("output_weight", f"{_short(weights['output'])} ({'measured' if weights['measured'] else 'assumed'})")
    )
    if row.get("problem"):
        figures.append(("problem", row["problem"]))
    server = row["server"] or {"minutes": 0}
    figures += [(f"server.{name}", _short(value)) for name, value in server.items() if value is not None]
    levers = row["levers"]
    figures += [(f"prefix_cache.{name}", value) for name, value in levers["prefix_cache"].items()]
    if levers["speculative_decoding"]:
        figures += [(f"speculative.{name}", _short(value)) for name, value in levers["speculative_decoding"].items()]
    figures.append(("preemptions", levers["preemptions"]))
    for level in levers["batching"]:
        calls = level["calls_at_once"]
        figures.append((f"usd_per_million_output at {calls} at once", level["usd_per_million_output"]))
        figures.append((f"output_tokens_per_s at {calls} at once", _short(level["output_tokens_per_s"])))
    return figures


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
