"""`taximeter serve`: the proxy, its ledger and its API. As most people write it, it begins in `start.py` without this."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli.options import ConfigOption, new_app
from proxy.cli.start import MOST_WORKERS
from proxy.processes import log
from proxy.serve.start import serve as run

app = new_app()


@app.command("serve")
def serve(
    config: ConfigOption = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=MOST_WORKERS, help="Data-plane processes; more than one needs `store: redis://…`."),
    ] = 1,
    standby: Annotated[
        bool,
        typer.Option(
            "--standby", help="Where another instance has the data_dir, wait until it is gone, and take over."
        ),
    ] = False,
) -> None:
    """Run the proxy, its ledger and its API. Without a configuration: the providers whose keys are set, or a local model."""
    log.set_up()
    raise typer.Exit(run(config, workers, standby=standby))
