#!/bin/sh
# @langchain/anthropic 1.5.11: a streamed answer's `output_tokens` are those of its beginning and of its end added up.
#
# In Anthropic's streams the usage of `message_start` is what was written by then, and "the token counts shown in the `usage` field of the
# `message_delta` event are cumulative" (platform.claude.com/docs, streaming). The last word is the answer's output, and what
# @anthropic-ai/sdk itself puts into its `finalMessage()`. LangChain adds the two: every streamed answer has used more than was billed,
# a little of long ones, twice as much of one whose first event comes late. The whole answer's figure is right.
# Seen, for an answer that `message_start` says 8 and `message_delta` says 12 of: whole 12; streamed 20, with a total of 30 in place of 22.
# Exits 0 while this is so, 1 when it has changed. Needs Node 20 and npm.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @langchain/anthropic@1.5.11 @langchain/core@1.4.0 >/dev/null
cat >ask.mjs <<'JS'
import { createServer } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import { ChatAnthropic } from "@langchain/anthropic";

const base = { id: "msg_1", type: "message", role: "assistant", model: "claude-sonnet-4-5", stop_sequence: null };
const usage = (output_tokens) => ({ input_tokens: 10, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens });
const server = createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  if (!JSON.parse(text).stream) {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ ...base, content: [{ type: "text", text: "Hello" }], stop_reason: "end_turn", usage: usage(12) }));
    return;
  }
  response.setHeader("content-type", "text/event-stream");
  for (const event of [
    { type: "message_start", message: { ...base, content: [], stop_reason: null, usage: usage(8) } },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello" } },
    { type: "content_block_stop", index: 0 },
    { type: "message_delta", delta: { stop_reason: "end_turn", stop_sequence: null }, usage: process.argv[2] === "all" ? usage(12) : { output_tokens: 12 } },
    { type: "message_stop" },
  ]) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  response.end();
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const address = `http://127.0.0.1:${server.address().port}`;

const model = new ChatAnthropic({ model: base.model, apiKey: "none", anthropicApiUrl: address });
const told = ({ input_tokens, output_tokens, total_tokens }) => [input_tokens, output_tokens, total_tokens];
const whole = told((await model.invoke("Hi")).usage_metadata);
let all;
for await (const chunk of await model.stream("Hi")) all = all ? all.concat(chunk) : chunk;
const sdk = new Anthropic({ apiKey: "none", baseURL: address });
const asked = { model: base.model, max_tokens: 100, messages: [{ role: "user", content: "Hi" }] };
const final = (await sdk.messages.stream(asked).finalMessage()).usage.output_tokens;
const seen = JSON.stringify({ whole, streamed: told(all.usage_metadata), sdk: final });
console.log(`@langchain/anthropic 1.5.11 (input, output, total): ${seen}`);
server.closeAllConnections();
server.close();
process.exit(seen === '{"whole":[10,12,22],"streamed":[10,20,30],"sdk":12}' ? 0 : 1);
JS
node ask.mjs
node ask.mjs all
