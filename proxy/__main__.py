"""`python -m proxy` is `taximeter`."""

from proxy.processes import cycles


def main() -> None:
    cycles.later()
    from proxy.cli.main import main as command  # noqa: PLC0415 - it is what takes the time

    command()


if __name__ == "__main__":
    main()
