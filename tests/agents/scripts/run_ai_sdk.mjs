import fs from "node:fs"
import { createOpenAI } from "@ai-sdk/openai"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { generateText, isStepCount, stepCountIs, tool } from "ai"
import { z } from "zod"

const { URL: url, KEY: key, FILE: file, PAUSE: pause } = process.env
const baseURL = `${url}/v1`
const chat = process.argv[2] === "chat"
const model = chat
  ? createOpenAICompatible({ name: "tm", baseURL, apiKey: key })("gpt-4o-mini")
  : createOpenAI({ baseURL, apiKey: key })("gpt-5.4")
const lookup = tool({
  description: "Look a number up",
  inputSchema: z.object({ number: z.number() }),
  execute: async ({ number }) => {
    if (pause && number === 3) {
      fs.writeFileSync(pause, "")
      while (fs.existsSync(pause)) await new Promise(done => setTimeout(done, 50))
    }
    return `The number ${number} is ${number * 11}.`
  },
})
const { text } = await generateText({ model, tools: { lookup }, stopWhen: (stepCountIs ?? isStepCount)(20), prompt: `Look up six numbers. FILE=${file}` })
console.log(text)
