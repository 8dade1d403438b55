#!/bin/sh
# aider 0.86.2: a 402 is tried again eight times in half a minute, unless its message has two particular texts in it.
#
# aider asks through litellm, which makes every 402 an APIError; that aider tries again (aider/exceptions.py), doubling its wait from
# 0.125 s up to 60 s. `x-should-retry: false` is not looked at. But where the error's text, in lower case, has both
# `insufficient credits` and `"code":402` (OpenRouter's words), it gives up at once. Both are looked for in the *message*: the error
# object's own `code` does not reach that text.
# Seen: 8 requests in 32 s with a plain message (six are waited for), 1 with the words in it, 1 at 400 and 404, 8 at 403.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aider-chat==0.86.2
cat >"$folder/count.py" <<'PYTHON'
import http.server, json, os, subprocess, sys, threading, time

status, message = int(sys.argv[1]), sys.argv[2]
seen = []


class Refusing(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        seen.append(1)
        body = json.dumps({"error": {"message": message, "type": "insufficient_quota", "code": 402}}).encode()
        self.send_response(status)
        for name, value in (("content-type", "application/json"), ("content-length", str(len(body))), ("x-should-retry", "false")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
threading.Thread(target=server.serve_forever, daemon=True).start()
home = os.path.dirname(os.path.abspath(__file__))
env = {"PATH": os.environ["PATH"], "HOME": home, "OPENAI_API_KEY": "none", "OPENAI_API_BASE": f"http://127.0.0.1:{server.server_port}/v1"}
program = [f"{home}/venv/bin/aider", "--model", "openai/gpt-4o-mini", "--no-git", "--yes-always", "--no-check-update", "--message", "hi"]
program += ["--no-show-model-warnings", "--no-pretty", "--analytics-disable"]
running = subprocess.Popen(program, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
until = time.monotonic() + 180
while running.poll() is None and len(seen) < 6 and time.monotonic() < until:
    time.sleep(0.1)
running.kill()
running.wait()
print(len(seen))
PYTHON
plain=$("$folder/venv/bin/python" "$folder/count.py" 402 "No money left.")
words=$("$folder/venv/bin/python" "$folder/count.py" 402 'No money left (insufficient credits, "code":402).')
echo "aider 0.86.2: requests at a 402: $plain with a plain message, $words with its words in the message"
[ "$plain" -ge 6 ] && [ "$words" = 1 ]
