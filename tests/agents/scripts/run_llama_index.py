import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai import OpenAI
from task import KEY, MODEL, TASK, URL, lookup


async def main() -> None:
    agent = FunctionAgent(tools=[lookup], llm=OpenAI(model=MODEL, api_base=f"{URL}/v1", api_key=KEY))
    print(await agent.run(TASK, max_iterations=50))


asyncio.run(main())
