"""`taximeter report reprice`: entries whose price was wrong or missing, and their corrections."""

from __future__ import annotations

from typing import Annotated

import typer

from pricing.load import load_book
from proxy.cli.corrections import write_corrections
from proxy.cli.options import ConfigOption, ServerOption, config_of, new_app, opened, server_of
from proxy.cli.output import FormatOption, answer
from proxy.cli.reports.options import SinceOption, UntilOption, answer_of, exit_on_problem
from proxy.config.own_prices import priced_by
from proxy.reports.reprice.answer import reprice_answer
from proxy.reports.reprice.repriced import reprice
from proxy.times import moment, now_s

app = new_app()


@app.command("reprice")
def reprice_entries(
    *,
    since: SinceOption = "31d",
    until: UntilOption = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the corrections.")] = False,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """Price what the ledger has again, at the book's and the configuration's prices of its day; say what differs.

    --apply writes a correction for each: sums, budgets and metrics follow, in a server that runs too.
    """
    with exit_on_problem(form):
        if (remote := server_of(server)) is not None:
            answer_of(remote, "reprice", form, {"--apply": apply}, since=since, until=until)
            return
        settings, now = config_of(config), now_s()
        period = moment(since or "31d", now), moment(until, now) if until else int(now * 1e6)
        with opened(settings) as engine:
            repricing = reprice(engine, priced_by(settings, load_book()), *period)
            corrections = [item.correction for item in repricing.items]
            if apply and corrections:
                write_corrections(settings, engine, corrections, "reprice")
            answer(reprice_answer(repricing, *period, applied=apply), form)
