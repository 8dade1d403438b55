"""The entry point: the path is set by this package before anything of `proxy` is looked for."""

import sys


def main() -> None:
    """`taximeter`, from wherever it is installed. A package that is missing is told in one sentence; exit 1."""
    try:
        from proxy.cli.start import main as command  # noqa: PLC0415 - only now is it ours that is found

        command()
    except ImportError as error:
        from proxy.processes.not_installed import what_to_install  # noqa: PLC0415 - as above

        sentence = what_to_install(error)
        if sentence is None:
            raise
        sys.exit(f"error: {sentence}")
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says it of SIGINT
