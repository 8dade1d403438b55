"""`taximeter spend`: what was spent, by whatever is asked for. Straight on the database, or through a server's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, fail, show
from proxy.cli.remote import Server
from proxy.reports.known_cost import known_cost

app = new_app()

_BY = (
    "team, model, key, user, customer, provider, upstream, session, agent, label.X, hour, day, week, month; "
    "claimed.X: a label (or customer, user) as an untrusted client claims it (keys with trust_labels make it count)."
)


class _Spent(NamedTuple):
    """The API's items and their total, where the entries that are kept begin, and what no item has."""

    items: Sequence[Mapping[str, Any]]
    total: Mapping[str, Any]
    entries_since: str | None
    other: Mapping[str, Any] | None


@app.command("spend")
def spend(
    *,
    by: Annotated[str, typer.Option(help=_BY)] = "",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="NAME=VALUE, such as team=search; as often as needed. No VALUE: what has none."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    zone: Annotated[
        str, typer.Option("--timezone", "--tz", help="Whose days, weeks and months, such as Europe/Berlin.")
    ] = "UTC",
    limit: Annotated[int | None, typer.Option(min=1, help="How many rows; the total is that of all.")] = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """What was spent, by whatever you ask for: by time in its order, else the dearest first, with each one's share."""
    names = [name for name in by.split(",") if name]
    pairs = [item.partition("=") for item in only or ()]
    if any(not name or not equals for name, equals, _ in pairs):
        raise fail("--only takes NAME=VALUE", 2)
    question = {"by": ",".join(names), "since": since, "until": until, "tz": zone}
    filters = {name: value for name, _, value in pairs}
    remote = server_of(server)
    spent = _asked(remote, question, filters, limit) if remote else _read(config_of(config), question, filters)
    items = spent.items if limit is None else spent.items[:limit]
    _print(items, spent, names, form)
    if limit is not None and len(items) == limit and form == "table":
        typer.echo(f"at most {limit} rows, as asked (--limit)", err=True)
    if spent.other is not None:
        cost, calls = spent.other["cost_usd"], spent.other["requests"]
        typer.echo(f"${cost} of {calls} calls is other: their entries are deleted, and so is {by} of them.", err=True)
    if spent.entries_since is not None:
        what_is_kept = "of the time before, whole hours are known (of users and customers whole days), and no labels"
        typer.echo(f"Entries before {spent.entries_since} are deleted; {what_is_kept}.", err=True)


def _asked(server: Server, question: Mapping[str, Any], filters: Mapping[str, str], limit: int | None) -> _Spent:
    params = {**question, **{f"filter.{name}": value for name, value in filters.items()}}
    head = server.get("/api/spend", **params, limit=1)
    items = list(server.items("/api/spend", limit, **params))
    return _Spent(items, head["total"], head["entries_since"], head.get("other"))


def _read(settings: Any, question: Mapping[str, Any], filters: Mapping[str, str]) -> _Spent:
    from proxy.reports.calendar import spend_and_other, total_of, zone_named
    from proxy.reports.shapes import spend_shown, total_shown
    from proxy.reports.spend import entries_since
    from proxy.times import BadQuestion, moment, now_s, rfc3339

    now = now_s()
    names = [name for name in question["by"].split(",") if name]
    try:
        since, until = [moment(text, now) if text else None for text in (question["since"], question["until"])]
        zone = zone_named(question["tz"])
        with opened(settings) as engine:
            rows, other = spend_and_other(engine, names, since, until, only=filters, zone=zone)
            kept_since = rfc3339(entries_since(engine))
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None
    items = [spend_shown(row).model_dump() for row in rows]
    if other is None:
        return _Spent(items, total_shown(total_of(rows)).model_dump(), kept_since, None)
    total = total_shown(total_of([*rows, other])).model_dump()
    return _Spent(items, total, kept_since, total_shown(other).model_dump())


def _print(items: Sequence[Mapping[str, Any]], spent: _Spent, names: Sequence[str], form: str) -> None:
    """JSON: as the API has it. CSV: a column for each unit. Table: usage in one cell, and the total below."""
    if form == "json":
        show(items, form, ())
        return
    total = spent.total
    shown = [_for_people(row, total) for row in items]
    if spent.other is not None:
        shown.append(_for_people(spent.other, total) | {names[0]: "other"})
    if form == "csv":
        units = list(total["usage"])
        flat = [_without_usage(row) | {unit: row["usage"].get(unit, 0) for unit in units} for row in shown]
        show(flat, form, (*names, "requests", *units, "cost_usd", "capacity_usd", "share_percent", "unpriced_requests"))
        return
    if names and len(shown) > 1:
        shown.append(_for_people(total, total) | {names[0]: "total"})
    flat = [row | {"usage": " ".join(f"{unit}={amount}" for unit, amount in row["usage"].items())} for row in shown]
    of_machines = ("capacity_usd",) if total["capacity_usd"] != "0" else ()  # most have none of their own
    columns = (*names, "requests", "usage", "cost_usd", *of_machines, "share_percent", "unpriced_requests")
    show(flat, form, columns, "There is no call to report in this time.")


def _for_people(row: Mapping[str, Any], total: Mapping[str, Any]) -> dict[str, Any]:
    """With its share; without a cost, and a share, where none of its calls has a price."""
    cost = known_cost(row["cost_usd"], row["requests"], row["unpriced_requests"])
    return dict(row) | {"cost_usd": cost, "share_percent": None if cost is None else _share(row, total)}


def _without_usage(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "usage"}


def _share(row: Mapping[str, Any], total: Mapping[str, Any]) -> float | None:
    """In percent; of nothing there is none."""
    whole = Decimal(total["cost_usd"])
    return float(round(100 * Decimal(row["cost_usd"]) / whole, 1)) + 0.0 if whole else None
