#!/bin/sh
# @langchain/openai 1.5.8: `withStructuredOutput` pays for an answer that is cut short seven times.
#
# `maxRetries` (6 by default) is thought of as the way through failed requests. With a JSON schema LangChain asks by the SDK's
# `chat.completions.parse`, which throws where the answer has `finish_reason: "length"` or is no JSON; LangChain's own retries take that
# for a failed request. So a `maxTokens` that is too small for the answer, which is the same the next time, is asked and paid for
# seven times over half a minute and more, and all that the caller sees is the error of the last. The same answer without a schema is
# asked for once; so is a status of 400. With `maxRetries: 0` it is one.
# Seen: requests for an answer cut short with a schema 7, with `maxRetries: 0` 1, without a schema 1, for a 400 with a schema 1.
# Exits 0 while this is so, 1 when it has changed. Needs Node 20 and npm. Takes two minutes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @langchain/openai@1.5.8 @langchain/core@1.4.0 openai@6.49.0 >/dev/null
cat >ask.mjs <<'JS'
import { createServer } from "node:http";
import { ChatOpenAI } from "@langchain/openai";

let requests = 0;
const server = createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  requests += 1;
  const { model } = JSON.parse(text);
  response.setHeader("content-type", "application/json");
  if (model === "refused") {
    response.statusCode = 400;
    response.end(JSON.stringify({ error: { message: "No.", type: "invalid_request_error" } }));
    return;
  }
  const message = { role: "assistant", content: '{"city": "Par', refusal: null };
  const usage = { prompt_tokens: 50, completion_tokens: 5, total_tokens: 55 };
  const base = { id: "chatcmpl-1", object: "chat.completion", created: 1, model };
  response.end(JSON.stringify({ ...base, choices: [{ index: 0, message, logprobs: null, finish_reason: "length" }], usage }));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const chat = (model, more) => new ChatOpenAI({ model, apiKey: "none", maxTokens: 5, configuration: { baseURL }, ...more });
const schema = { title: "Place", type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };

async function asked(runnable) {
  requests = 0;
  let error = "";
  await runnable.invoke("Where?").catch((thrown) => { error = thrown.constructor.name; });
  return [requests, error];
}
const structured = (model, more) => chat(model, more).withStructuredOutput(schema, { method: "jsonSchema" });
const seen = JSON.stringify({
  schema: await asked(structured("gpt-4o-mini", {})),
  "maxRetries 0": await asked(structured("gpt-4o-mini", { maxRetries: 0 })),
  plain: await asked(chat("gpt-4o-mini", {})),
  400: await asked(structured("refused", {})),
});
console.log(`@langchain/openai 1.5.8 (requests, error): ${seen}`);
server.closeAllConnections();
server.close();
process.exit(seen === '{"400":[1,"BadRequestError"],"schema":[7,"LengthFinishReasonError"],"maxRetries 0":[1,"LengthFinishReasonError"],"plain":[1,""]}' ? 0 : 1);
JS
node ask.mjs
