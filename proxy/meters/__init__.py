"""Usage readers: what a response says was used, one file per family of wire formats. Pure, no I/O, no money.

`reader(dialect, provider)` finds the reader; the dialect of the server that answered decides what its numbers mean, the
provider decides prices. What hosts do differently is data: `host_table.py`. To add a format: a file here, a line in
`registry.py`, a fixture.
"""

from proxy.meters.reader import Context, Reader, StreamReader
from proxy.meters.registry import reader

__all__ = ["Context", "Reader", "StreamReader", "reader"]
