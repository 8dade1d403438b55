#!/bin/sh
# schemathesis 4.32.5: whether it calls a guarded API "open" depends on how the caller spells a header's name.
#
# Its check `ignored_auth` asks again without credentials and wants 401 or 403. Headers given to `call_and_validate` are taken
# out by their exact spelling: with {"Authorization": …} they are gone, with {"authorization": …} they stay, so the question
# "without" credentials has them, is answered 200, and the server is said to accept requests without authentication.
# Names of HTTP headers have no case (RFC 9110, 5.1). Seen: `Authorization` passes, `authorization` fails.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5
cat > "$folder/look.py" <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup


class Guarded(BaseHTTPRequestHandler):
    """200 with the right key, 401 without."""

    def do_GET(self):
        status, body = (200, b"{}") if self.headers.get("Authorization") == "Bearer right" else (401, b"{}")
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


answer = {"description": "", "content": {"application/json": {"schema": {"type": "object"}}}}
document = {
    "openapi": "3.1.0",
    "info": {"title": "guarded", "version": "1"},
    "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    "paths": {"/x": {"get": {"security": [{"key": []}], "responses": {"200": answer, "401": answer}}}},
}
server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
operation = schemathesis.openapi.from_dict(document)["/x"]["GET"]


def verdict(name):
    @given(case=operation.as_strategy())
    @settings(max_examples=1, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(case):
        case.call_and_validate(address, headers={name: "Bearer right"})

    try:
        check()
    except FailureGroup as failures:
        return ", ".join(type(failure).__name__ for failure in failures.exceptions)
    return "passes"


seen = {name: verdict(name) for name in ("Authorization", "authorization")}
server.shutdown()
print("schemathesis", version("schemathesis"), seen)
raise SystemExit(seen != {"Authorization": "passes", "authorization": "IgnoredAuth"})
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
