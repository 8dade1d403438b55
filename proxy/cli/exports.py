"""`taximeter exports`: how far each sink is. Straight on the database, or through a server's API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from proxy.cli.options import ConfigOption, ServerOption, config_of, ledger_of, new_app, server_of
from proxy.cli.output import FormatOption, fail, show

app = new_app()

_COLUMNS = (
    "name", "type", "state", "cursor", "lag_entries", "lag_seconds", "sent", "skipped", "set_aside", "failed", "exported_at",
    "history_at", "error",
)  # fmt: skip


@app.callback()
def _exports() -> None:
    """Where the ledger's entries go besides."""


@app.command("status")
def status(config: ConfigOption = None, server: ServerOption = None, form: FormatOption = "table") -> None:
    """How far each sink is behind the ledger, what it refused, and what went wrong last."""
    rows: list[dict[str, Any]]
    if (remote := server_of(server)) is not None:
        rows = list(remote.get("/api/exports")["items"])
    else:
        from proxy.exports.status import sinks_shown
        from proxy.times import now_us

        settings = config_of(config)
        rows = sinks_shown(ledger_of(settings), {row.key: row.type for row in settings.exports}, now_us())
    show(rows, form, _COLUMNS, "Nothing is exported; sinks stand under `exports` in the configuration.")


@app.command("retry")
def retry(
    name: Annotated[str, typer.Argument(help="The sink.")], config: ConfigOption = None, server: ServerOption = None
) -> None:
    """Try once more what a sink refused for good; `serve` does it within a second or two."""
    events: int | None
    if (remote := server_of(server)) is not None:
        from proxy.cli.remote import named

        events = remote.post(f"/api/exports/{named(name)}/retry")["events"]
    else:
        from proxy.ledger.beside.export_log import ask_again

        events = ask_again(ledger_of(config_of(config)), name)
        if events is None:
            raise fail(f"there is no sink {name!r}; `taximeter exports status` lists the sinks")
    print(f"{events} events are tried once more")
