"""The entry point: the path is set by this package before anything of `proxy` is looked for."""


def main() -> None:
    """`taximeter`, from wherever it is installed."""
    from proxy.cli.main import main as command  # noqa: PLC0415 - only now is it ours that is found

    command()
