"""`taximeter report margin`: which customers and plans earn money, and which lose it."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer
from proxy.cli.reports.options import SinceOption, UntilOption, ZoneOption, answer_of, exit_on_problem, names_of
from proxy.reports.calendar import zone_named
from proxy.reports.margin.answer import margin_answer
from proxy.reports.margin.margin import Question
from proxy.times import moment, now_s, now_us

app = new_app()


@app.command("margin")
def margin(
    by: Annotated[
        str, typer.Option(help="customer, plan, team, key, label.NAME, …; several with commas between.")
    ] = "customer",
    since: SinceOption = None,
    until: UntilOption = None,
    zone: ZoneOption = "UTC",
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """What each customer pays and costs, those that lose most first; by default in the running month.

    Revenue comes from `plans` in the configuration and from `taximeter revenue import`.
    """
    with exit_on_problem(form):
        if (remote := server_of(server)) is not None:
            answer_of(remote, "margin", form, {}, by=by, since=since, until=until, tz=zone)
            return
        settings, now = config_of(config), now_s()
        question = Question(
            by=names_of(by),
            since=moment(since, now) if since else None,
            until=moment(until, now) if until else None,
            zone=zone_named(zone),
        )
        with opened(settings) as engine:
            answer(margin_answer(engine, settings.plans, question, now_us()), form)
