"""`taximeter jobs`: calls that are billed when they end. Straight on the database, or through a server's API."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, ledger_of, new_app, server_of
from proxy.cli.output import FormatOption, fail, show
from proxy.jobs.machine import STATES

app = new_app()


@app.command("jobs")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="running, settled or unconfirmed. Default: all.")] = None,
    team: Annotated[str | None, typer.Option(help="Whose. Default: everybody's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, the latest first.")] = 50,
    config: ConfigOption = None,
    server: ServerOption = None,
    form: FormatOption = "table",
) -> None:
    """Batches, videos, predictions: those that run, with what they have reserved, and what the others came to."""
    if state is not None and state not in STATES:
        raise fail(f"--state must be {', '.join(STATES)}", 2)
    if (remote := server_of(server)) is not None:
        rows = list(remote.items("/api/jobs", limit, state=state, **({} if team is None else {"filter.team": team})))
    else:
        from proxy.reports import jobs
        from proxy.times import now_us

        ledger = ledger_of(config_of(config))
        rows = jobs.list_jobs(
            ledger, now_us=now_us(), limit=limit, state=state, only={} if team is None else {"team": team}
        )
    columns = ("id", "api", "operation", "state", "overdue", "model", "team", "key", "created_at", "deadline_at", "ended_at",
               "reserved_usd", "cost_usd")  # fmt: skip
    filtered = " like this" if state is not None or team is not None else ""
    show(
        rows,
        form,
        columns,
        f"There are no jobs{filtered}: calls such as batches and videos, which are billed when they end.",
    )
