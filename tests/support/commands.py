"""Our own command line, as it is."""

from __future__ import annotations

from typing import Any

import typer

from proxy.cli.main import app


def commands() -> dict[str, set[str]]:
    """Each command of ours with its options."""
    known: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        known[path] = options | {"--help"}
        if hasattr(command, "list_commands"):
            context = command.make_context(path or "taximeter", [], resilient_parsing=True)
            for name in command.list_commands(context):
                walk(command.get_command(context, name), f"{path} {name}".strip())

    walk(typer.main.get_command(app), "")
    return known
