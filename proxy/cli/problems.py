"""How every command tells what is wrong with a configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable


def telling_problems(command: Callable[[], None]) -> None:
    """Problems of the configuration are told one a line, never as a traceback; exit 2."""
    from proxy.config.file import ConfigError

    try:
        command()
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
