"""`taximeter spend`: what was spent, by whatever is asked for. Straight on the database, with or without a server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from proxy.cli.options import ConfigOption, config_of, ledger_of, new_app
from proxy.cli.output import FormatOption, fail, show
from proxy.reports import spend as spending
from proxy.reports.shapes import spend_shown
from proxy.times import BadQuestion, moment, now_s, rfc3339

app = new_app()


@app.command("spend")
def spend(
    by: Annotated[
        str,
        typer.Option(help="team, model, key, user, customer, provider, upstream, session, agent, label.X, day, hour."),
    ] = "",
    since: Annotated[str | None, typer.Option(help="7d, 12h, or a time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="The end, not included.")] = None,
    config: ConfigOption = None,
    form: FormatOption = "table",
) -> None:
    """What was spent, by whatever you ask for."""
    names = [name for name in by.split(",") if name]
    now = now_s()
    engine = ledger_of(config_of(config))
    try:
        found = spending.spend(
            engine,
            names,
            moment(since, now) if since else None,
            moment(until, now) if until else None,
        )
    except BadQuestion as problem:
        raise fail(str(problem), 2) from None
    rows = [spend_shown(row).model_dump() for row in found]
    if form != "json":
        rows = [row | {"usage": _usage_text(row["usage"])} for row in rows]
    show(rows, form, (*names, "requests", "usage", "cost_usd", "unpriced_requests"))
    deleted_before = spending.entries_since(engine)
    if deleted_before is not None:
        told = "of the time before, whole hours are known (of users and customers whole days), and no labels"
        print(f"Entries before {rfc3339(deleted_before)} are deleted; {told}.", file=sys.stderr)


def _usage_text(usage: Mapping[str, Any]) -> str:
    return " ".join(f"{unit}={quantity}" for unit, quantity in usage.items())
