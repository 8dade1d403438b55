#!/bin/sh
# runwayml 5.24.0: `wait_for_task_output()` of the synchronous client does not end when the task is cancelled; that of the asynchronous one does.
#
# The documented words of both are the same: "If the task fails or is cancelled, a `TaskFailedError` will be raised." In runwayml/lib/polling.py
# the synchronous loop looks for SUCCEEDED and FAILED, the asynchronous for CANCELLED too. So a script goes on asking for a task that is over
# until its own time-out (ten minutes by default; never with None), and then hears that the task was too slow.
# Seen, for a task that is CANCELLED from the first look on and a time-out of 8 s: TaskTimeoutError after two looks, TaskFailedError after one.
# Exits 0 while this is so, 1 when it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check runwayml==5.24.0
cat >"$folder/wait.py" <<'PYTHON'
import asyncio
import http.server
import json
import threading

import runwayml

TASK = "17f20503-6c24-4c16-946b-35dbbce2af2f"
looks = 0


class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"id": TASK})

    def do_GET(self):
        global looks
        looks += 1
        self.answer({"id": TASK, "status": "CANCELLED", "createdAt": "2026-11-01T00:00:00Z"})

    def answer(self, body):
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = {"api_key": "key", "base_url": f"http://127.0.0.1:{server.server_port}"}
task = {"model": "gen4_image", "prompt_text": "A lighthouse", "ratio": "1920:1080"}


def synchronous():
    runwayml.RunwayML(**client).text_to_image.create(**task).wait_for_task_output(timeout=8)


async def asynchronous():
    async with runwayml.AsyncRunwayML(**client) as api:
        await (await api.text_to_image.create(**task)).wait_for_task_output(timeout=8)


def outcome(wait):
    global looks
    looks = 0
    try:
        wait()
    except Exception as error:
        return type(error).__name__, looks
    return "returned", looks


seen = outcome(synchronous), outcome(lambda: asyncio.run(asynchronous()))
print("synchronous: {0[0]} after {0[1]} looks; asynchronous: {1[0]} after {1[1]}".format(*seen))
assert seen[0][0] == "TaskTimeoutError" and seen[0][1] >= 2, seen
assert seen[1] == ("TaskFailedError", 1), seen
PYTHON
"$folder/venv/bin/python" "$folder/wait.py"
