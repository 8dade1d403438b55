"""`python -m proxy` is `taximeter`."""

from proxy.cli.start import main

main()
