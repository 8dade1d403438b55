"""Where every command begins. The usual forms of `serve` do without the library that reads command lines: it would cost each
process four megabytes for as long as it runs, and 25 ms at its start. All other commands, and every mistake, go to `main.py`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from proxy.cli.problems import report_errors
from proxy.processes import garbage_collection

MOST_WORKERS = 64
_INTERRUPTED = 130  # as a shell says it of SIGINT


class Serve(NamedTuple):
    """What `serve` was asked for."""

    config: Path | None = None
    workers: int = 1
    standby: bool = False


def main() -> None:
    """The command line that this program was started with."""
    garbage_collection.pause()
    options = parse_plain(sys.argv[1:], os.environ)
    try:
        if options is None:
            from proxy.cli.main import main as command

            command()
        else:
            # No exception: it may come in a compiled module's import, which swallows it and goes on with half a module.
            signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
            report_errors(lambda: _serve(options))
    except KeyboardInterrupt:  # before there was anything to stop; what the library makes of it later
        sys.exit(_INTERRUPTED)


def parse_plain(arguments: Sequence[str], environ: Mapping[str, str]) -> Serve | None:
    """What is asked of `serve`, each option at most once; None for anything that needs more of an answer."""
    if not arguments or arguments[0] != "serve":
        return None
    named: dict[str, str] = {}
    rest = list(arguments[1:])
    while rest:
        name, has_value, value = rest.pop(0).partition("=")
        if name == "--standby" and not has_value:
            value = "yes"
        elif name not in ("--config", "--workers"):
            return None
        elif not has_value:
            value = rest.pop(0) if rest else ""
        if name in named or not value or value.startswith("-"):
            return None
        named[name] = value
    workers = named.get("--workers", "1")
    if not (workers.isascii() and workers.isdigit() and len(workers) < 10 and 1 <= int(workers) <= MOST_WORKERS):
        return None
    config = named.get("--config") or environ.get("TAXIMETER_CONFIG")
    return Serve(Path(config) if config else None, int(workers), "--standby" in named)


def _serve(options: Serve) -> None:
    from proxy.processes import log
    from proxy.serve.start import serve

    log.set_up()
    sys.exit(serve(options.config, options.workers, standby=options.standby))
