"""`python -m taximeter` is `taximeter`."""

from taximeter.command import main

main()
