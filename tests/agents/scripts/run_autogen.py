import asyncio

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from task import KEY, MODEL, TASK, URL, lookup


async def main() -> None:
    client = OpenAIChatCompletionClient(model=MODEL, base_url=f"{URL}/v1", api_key=KEY)
    agent = AssistantAgent("six", model_client=client, tools=[lookup], max_tool_iterations=10)
    print((await agent.run(task=TASK)).messages[-1].content)


asyncio.run(main())
