#!/bin/sh
# orjson 3.13.0: what `dumps` returns keeps the whole buffer that it was written into.
#
# A result of 100 bytes holds 4 KB for as long as it lives; one of 3.6 KB, of a text and 300 numbers, holds 64 KB, of which 34 KB
# are the process's memory. `sys.getsizeof` says only the bytes that are in it; tracemalloc and /proc/self/statm show the rest.
# Who keeps results (a cache, a queue, a record of each call under way) keeps ten to forty times as much as is written. A copy
# (`b"%b" % result`) holds what it says.
# Seen (tracemalloc): 4,097 and 64,937 bytes a result; 141 and 3,655 a copy.
# Exits 0 while each result of 100 bytes holds more than 3,000, 1 when that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check orjson==3.13.0
"$folder/venv/bin/python" - <<'PYTHON'
import tracemalloc

import orjson

COUNT = 2000
short, long = {"a": "b" * 92}, {"a": "b" * 3000, "c": [1] * 300}
tracemalloc.start()
held = {}
for name, value in (("short", short), ("long", long)):
    for way, copied in (("result", bytes), ("copy", lambda data: b"%b" % data)):
        before = tracemalloc.get_traced_memory()[0]
        kept = [copied(orjson.dumps(value)) for _ in range(COUNT)]
        held[name, way] = (tracemalloc.get_traced_memory()[0] - before) // COUNT
        length = len(kept[0])
        del kept
        print(f"orjson {orjson.__version__}: a {way} of {length} bytes holds {held[name, way]}")
raise SystemExit(not (held["short", "result"] > 3000 > 300 > held["short", "copy"]))
PYTHON
