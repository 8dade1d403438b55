#!/bin/sh
# prometheus-client 0.26.0: its content negotiation does not look at weights.
#
# `choose_encoder`, which serves every exporter that is made with it, takes the first media type of `Accept` that is OpenMetrics
# (or text/plain from version 1.0.0 on), whatever its `q`. Who prefers plain text 0.0.4 (q=1) and merely takes OpenMetrics
# (q=0.1) gets OpenMetrics; so does who refuses it (q=0: "not acceptable", RFC 9110, 12.4.2). Prometheus itself sends its
# favourite first, so that it never shows there; other scrapers do not have to.
# Seen: application/openmetrics-text for both.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from prometheus_client.exposition import choose_encoder

asked = {
    "prefers text": "text/plain;version=0.0.4;q=1.0, application/openmetrics-text;version=1.0.0;q=0.1",
    "refuses OpenMetrics": "text/plain, application/openmetrics-text;version=1.0.0;q=0",
}
seen = {name: choose_encoder(accept)[1].partition(";")[0] for name, accept in asked.items()}
print("prometheus-client", version("prometheus-client"), seen)
raise SystemExit(set(seen.values()) != {"application/openmetrics-text"})
PYTHON
