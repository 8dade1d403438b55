"""`python -m proxy` is `taximeter`."""

from proxy.cli import main

main()
