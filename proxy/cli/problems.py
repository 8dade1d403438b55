"""How every command tells what is wrong with a configuration, with the price book, or with the ledger's database."""

from __future__ import annotations

import sys
from collections.abc import Callable

# What a database says that is away, full, locked or not to be written. All else that it says is a fault of ours.
_OF_THE_DATABASE = ("OperationalError", "InternalError", "InterfaceError")


def report_errors(command: Callable[[], None]) -> None:
    """Problems of the configuration are told one a line, and a damaged price book too, never as a traceback; exit 2. So is a
    ledger that was opened and then does not answer, or cannot be written; exit 1."""
    from pricing.damaged import DamagedBookError
    from proxy.config.problems import ConfigError

    try:
        command()
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    except DamagedBookError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except _of_the_database() as error:
        from proxy.ledger.recording.outage import first_error

        first = first_error(error)  # type: ignore[arg-type]  # one of its library's
        reason = str(getattr(first, "orig", None) or first).strip().partition("\n")[0]
        print(f"error: the ledger database refuses: {reason}", file=sys.stderr)
        sys.exit(1)


def _of_the_database() -> tuple[type[Exception], ...]:
    """Where no command has opened one there is none: then its library, a tenth of a second, is not imported."""
    errors = sys.modules.get("sqlalchemy.exc")
    return tuple(getattr(errors, name) for name in _OF_THE_DATABASE) if errors else ()
