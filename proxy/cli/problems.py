"""How every command tells what is wrong with a configuration, or with the price book."""

from __future__ import annotations

import sys
from collections.abc import Callable


def report_errors(command: Callable[[], None]) -> None:
    """Problems of the configuration are told one a line, and a damaged price book too, never as a traceback; exit 2."""
    from pricing.damaged import DamagedBookError
    from proxy.config.file import ConfigError

    try:
        command()
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except DamagedBookError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
