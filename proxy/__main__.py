"""`python -m proxy` is `taximeter`."""

import sys

try:
    from proxy.cli.start import main
except KeyboardInterrupt:
    sys.exit(130)  # as a shell says it of SIGINT

main()
