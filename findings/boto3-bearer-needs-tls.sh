#!/bin/sh
# boto3 1.44.8 does not send a Bedrock API key (AWS_BEARER_TOKEN_BEDROCK) to an `http://` endpoint, loopback or not.
#
# Before any request it raises InvalidEndpointConfigurationError: "Bearer authorization requires an HTTPS endpoint." The same client with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY sends its request, signed, to the same endpoint.
# So a gateway on plain HTTP is reached with signatures only.
# Seen: with the API key no request and that message; with keys one request whose Authorization begins with AWS4-HMAC-SHA256.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check boto3==1.44.8
cat >"$folder/try.py" <<'PY'
import http.server, os, threading
import boto3

seen = []

class Host(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        seen.append(self.headers.get("authorization", ""))
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
threading.Thread(target=host.serve_forever, daemon=True).start()

def ask():
    client = boto3.Session(region_name="us-east-1").client("bedrock-runtime", endpoint_url=f"http://127.0.0.1:{host.server_port}")
    return client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])

os.environ["AWS_BEARER_TOKEN_BEDROCK"] = "a-key"
try:
    ask()
    message = "none"
except Exception as error:
    message = f"{type(error).__name__}: {error}"
with_key = len(seen)
del os.environ["AWS_BEARER_TOKEN_BEDROCK"]
os.environ |= {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
ask()
print(f"boto3 {boto3.__version__}: requests with an API key {with_key} ({message}); with keys {len(seen) - with_key} ({seen[-1][:16]})")
fine = with_key == 0 and "HTTPS" in message and seen[-1].startswith("AWS4-HMAC-SHA256")
raise SystemExit(0 if fine else 1)
PY
"$folder/venv/bin/python" "$folder/try.py"
