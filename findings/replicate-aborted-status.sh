#!/bin/sh
# replicate 1.0.7 (its newest): a prediction with the status `aborted`, which the API documents, cannot be read by Replicate's own SDK,
# and one such prediction makes the whole list unreadable.
#
# A prediction whose deadline (`Cancel-After`) passes before it starts is `aborted` (replicate.com/docs, predictions, lifecycle;
# changelog 2025-10-16). The SDK's `Prediction.status` is a Literal of five words without it, checked by pydantic, and `wait()` waits
# for three. So `predictions.get` and `predictions.list` raise ValidationError; `wait()` can end in no other way.
# Seen: both raise, naming the word. Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check replicate==1.0.7
cat >"$folder/read.py" <<'PYTHON'
import http.server, json, threading

import replicate

ONE = {"model": "acme/model", "version": "v", "input": {}, "output": None, "logs": "", "error": None, "metrics": None,
       "created_at": "2026-11-29T06:00:00Z", "started_at": None, "completed_at": "2026-11-29T06:00:05Z", "urls": {}}
DONE, ABORTED = {**ONE, "id": "done", "status": "succeeded"}, {**ONE, "id": "aborted", "status": "aborted"}
ANSWERS = {"/v1/predictions": {"next": None, "previous": None, "results": [DONE, ABORTED]},
           "/v1/predictions/done": DONE, "/v1/predictions/aborted": ABORTED}


class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = replicate.Client(api_token="none", base_url=f"http://127.0.0.1:{server.server_port}")
said = [client.predictions.get("done").status]
for ask in (lambda: client.predictions.get("aborted").status, lambda: len(client.predictions.list().results)):
    try:
        said.append(str(ask()))
    except ValueError as error:
        said.append("given=aborted" if "given=aborted" in str(error) else f"another error: {error}")
print(" ".join(said))
PYTHON
said=$("$folder/venv/bin/python" "$folder/read.py")
echo "replicate 1.0.7: get of a succeeded one, get of an aborted one, list of both: $said"
[ "$said" = "succeeded given=aborted given=aborted" ]
