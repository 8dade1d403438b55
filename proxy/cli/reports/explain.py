"""`taximeter report explain`: why the bill changed."""

from __future__ import annotations

from typing import Annotated

import typer

from pricing.load import load_book
from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer
from proxy.cli.reports.options import SinceOption, UntilOption, ZoneOption, answer_of, exit_on_problem, names_of
from proxy.config.own_prices import priced_by
from proxy.reports.calendar import zone_named
from proxy.reports.explain.answer import ExplainQuestion, against_of, explain_answer
from proxy.times import moment, now_s, now_us

app = new_app()


@app.command("explain")
def explain(
    by: Annotated[str, typer.Option(help="Whose movements: customer, team, model, label.NAME, ….")] = "customer,model",
    since: SinceOption = None,
    until: UntilOption = None,
    against: Annotated[
        str | None, typer.Option(metavar="C..D", help="The period to compare with; by default the one just before.")
    ] = None,
    zone: ZoneOption = "UTC",
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """Why the bill changed: the difference to another period, split exactly by what made it.

    Without a time: the running month so far, against as much of the month before.
    """
    with exit_on_problem(form):
        if (remote := server_of(server)) is not None:
            answer_of(remote, "explain", form, {}, by=by, since=since, until=until, against=against, tz=zone)
            return
        settings, now = config_of(config), now_s()
        question = ExplainQuestion(
            by=names_of(by),
            since=moment(since, now) if since else None,
            until=moment(until, now) if until else None,
            against=against_of(against, now) if against else None,
            zone=zone_named(zone),
        )
        with opened(settings) as engine:
            answer(explain_answer(engine, priced_by(settings, load_book()), question, now_us()), form)
