"""`taximeter report month`: what each team, customer or cost centre is charged for a month."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer
from proxy.cli.reports.options import ZoneOption, answer_of, exit_on_problem, names_of
from proxy.reports.calendar import zone_named
from proxy.reports.month.answer import close_month, month_answer
from proxy.reports.month.charged import MonthQuestion, mapping_of, mark_up_of
from proxy.reports.months import before, month_at, month_named
from proxy.times import now_us

app = new_app()


@app.command("month")
def month(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="MONTH", help="2026-11; by default the one before this.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="team, customer, label.cost_centre, …; several with commas between.")
    ] = "team",
    mark_up: Annotated[str, typer.Option(help="Share that is charged beside the cost: 0.10.")] = "0",
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE.csv",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="Cost centres by another attribute, with a header such as team,cost_centre.",
        ),
    ] = None,
    close: Annotated[bool, typer.Option("--close", help="Keep the month as it is: it changes no more.")] = False,
    zone: ZoneOption = "UTC",
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """What each group is charged for a month, in cents that add up.

    What comes to a closed month later (a correction, a late settlement) is adjusted in the first month after it that is open.
    """
    with exit_on_problem(form):
        if (remote := server_of(server)) is not None:
            answer_of(
                remote, "month", form, {"--map": mapping, "--close": close}, month=name, by=by, mark_up=mark_up, tz=zone
            )
            return
        settings, place, now = config_of(config), zone_named(zone), now_us()
        question = MonthQuestion(
            month=month_named(name, place) if name else before(month_at(now, place), place),
            by=names_of(by),
            mark_up=mark_up_of(mark_up),
            mapped=mapping_of(mapping.read_text("utf-8-sig").splitlines(keepends=True)) if mapping else None,
            zone=place,
        )
        with opened(settings) as engine:
            if close and not close_month(engine, question, now):
                typer.echo(f"{question.month.name} was closed before, and stays as it was", err=True)
            answer(month_answer(engine, question, now), form)
