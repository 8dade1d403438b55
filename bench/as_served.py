"""What `serve` tells the control process before that imports anything. To be imported first."""

from proxy.processes.sqlite_library import without_statistics

TOLD = without_statistics()
