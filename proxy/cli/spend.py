"""`taximeter spend`: what was spent, by whatever is asked for. Straight on the database, with or without a server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.cli.output import FormatOption, fail, show
from proxy.reports.calendar import spend_by, total_of
from proxy.reports.shapes import spend_shown
from proxy.reports.spend import SpendRow, entries_since
from proxy.times import BadQuestion, moment, now_s, rfc3339

app = new_app()

_BY = (
    "team, model, key, user, customer, provider, upstream, session, agent, label.X, hour, day, week, month; "
    "claimed.X: a label (or customer, user) as an untrusted client claims it (keys with trust_labels make it count)."
)


@app.command("spend")
def spend(
    by: Annotated[str, typer.Option(help=_BY)] = "",
    only: Annotated[
        list[str] | None, typer.Option("--only", help="NAME=VALUE, such as team=search; as often as needed.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    zone: Annotated[
        str, typer.Option("--timezone", help="Whose days, weeks and months, such as Europe/Berlin.")
    ] = "UTC",
    config: ConfigOption = None,
    form: FormatOption = "table",
) -> None:
    """What was spent, by whatever you ask for: by time in its order, else the dearest first, with each one's share."""
    names = [name for name in by.split(",") if name]
    pairs = [item.partition("=") for item in only or ()]
    if any(not name or not equals for name, equals, _ in pairs):
        raise fail("--only takes NAME=VALUE", 2)
    filters = {name: value for name, _, value in pairs}
    now = now_s()
    engine = ledger_of(config_of(config))
    try:
        rows = spend_by(
            engine, names, moment(since, now) if since else None, moment(until, now) if until else None,
            only=filters, zone=ZoneInfo(zone),
        )  # fmt: skip
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None
    except (KeyError, OSError, ValueError):  # as ZoneInfo refuses a name, according to what is wrong with it
        raise fail(f"--timezone {zone!r} is no time zone; write one such as Europe/Berlin", 2) from None
    _print(rows, names, form)
    deleted_before = entries_since(engine)
    if deleted_before is not None:
        known = "of the time before, whole hours are known (of users and customers whole days), and no labels"
        print(f"Entries before {rfc3339(deleted_before)} are deleted; {known}.", file=sys.stderr)


def _print(rows: Sequence[SpendRow], names: Sequence[str], form: str) -> None:
    """JSON: as the API has it. CSV: a column for each unit. Table: usage in one cell, and the total below."""
    total = total_of(rows)
    if form == "json":
        show([spend_shown(row).model_dump() for row in rows], form, ())
        return
    shown = [spend_shown(row).model_dump() | {"share_percent": _share(row, total)} for row in rows]
    if form == "csv":
        units = list(total.usage)
        flat = [_without_usage(row) | {unit: row["usage"].get(unit, 0) for unit in units} for row in shown]
        show(flat, form, (*names, "requests", *units, "cost_usd", "capacity_usd", "share_percent", "unpriced_requests"))
        return
    if names and len(rows) > 1:
        shown.append(spend_shown(total).model_dump() | {names[0]: "total", "share_percent": 100.0})
    flat = [row | {"usage": " ".join(f"{unit}={amount}" for unit, amount in row["usage"].items())} for row in shown]
    of_machines = ("capacity_usd",) if total.capacity_nanousd else ()  # most have none of their own
    show(flat, form, (*names, "requests", "usage", "cost_usd", *of_machines, "share_percent", "unpriced_requests"))


def _without_usage(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "usage"}


def _share(row: SpendRow, total: SpendRow) -> float:
    return round(100 * row.cost_nanousd / total.cost_nanousd, 1) if total.cost_nanousd else 0.0
