"""`python -m taximeter` is `taximeter`."""

from proxy.cli.main import main

main()
