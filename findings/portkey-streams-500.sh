#!/bin/sh
# @portkey-ai/gateway 1.15.2, as npm installs it on Node 20: every streamed answer is a 500, while the same call unstreamed is a 200.
#
# The gateway adds its own headers to the provider's answer. Headers of an answer that came from `fetch` are immutable by the fetch
# standard, and Node's own `Response` holds to that: `TypeError: immutable` in its log, {"status":"failure","message":"Something went
# wrong"} for the client, whose stream the provider has begun and bills. https://github.com/Portkey-AI/gateway/issues/1389 tells of
# the same with @hono/node-server after 1.14.2; it is so with 1.3.3, 1.14.2 and the newest 1.x alike, for the providers openai and groq.
# Seen: whole answer 200, streamed answer 500.
# Exits 0 while this is so, 1 when it has changed. Needs node and npm.
set -eu
folder=$(mktemp -d)
gateway='' provider=''
trap 'kill $gateway $provider 2>/dev/null || true; rm -rf "$folder"' EXIT
npm install --silent --no-fund --no-audit --prefix "$folder" @portkey-ai/gateway@1.15.2
cat >"$folder/provider.mjs" <<'JS'
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part)).on("end", () => {
    const choice = { index: 0, finish_reason: "stop" };
    const head = { id: "chatcmpl-1", created: 1700000000, model: "gpt-4o-mini" };
    if (JSON.parse(body).stream) {
      const chunk = { ...head, object: "chat.completion.chunk", choices: [{ ...choice, delta: { content: "Hello" } }] };
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
    } else {
      const message = { role: "assistant", content: "Hello" };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ ...head, object: "chat.completion", choices: [{ ...choice, message }] }));
    }
  });
});
server.listen(0, "127.0.0.1", () => writeFileSync(process.argv[2], String(server.address().port)));
JS
node "$folder/provider.mjs" "$folder/port" &
provider=$!
port=$(node -e 'const s = require("node:net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
node "$folder/node_modules/@portkey-ai/gateway/build/start-server.js" --port="$port" --headless >"$folder/log" 2>&1 &
gateway=$!
call() {
    curl --silent --output /dev/null --write-out '%{http_code}' --max-time 60 \
        "http://127.0.0.1:$port/v1/chat/completions" -H 'content-type: application/json' -H 'authorization: Bearer sk-none' \
        -H 'x-portkey-provider: openai' -H "x-portkey-custom-host: http://127.0.0.1:$(cat "$folder/port")/v1" \
        -d "{\"model\":\"gpt-4o-mini\",\"stream\":$1,\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
}
until [ "$(call false || true)" = 200 ] || [ "$((tries = ${tries:-0} + 1))" = 60 ]; do sleep 1; done # until it is up
whole=$(call false) streamed=$(call true)
echo "@portkey-ai/gateway 1.15.2, Node $(node --version): whole answer $whole, streamed answer $streamed; its log: $(grep -o 'TypeError: [a-z]*' "$folder/log" | head -1)"
[ "$whole" = 200 ] && [ "$streamed" = 500 ]
