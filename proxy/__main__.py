"""`python -m proxy` is `taximeter`."""

from proxy.cli.main import main

main()
