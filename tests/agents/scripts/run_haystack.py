from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from task import KEY, MODEL, TASK, URL, lookup

generator = OpenAIChatGenerator(model=MODEL, api_base_url=f"{URL}/v1", api_key=Secret.from_token(KEY))
agent = Agent(chat_generator=generator, tools=[create_tool_from_function(lookup)], max_agent_steps=20)
print(agent.run(messages=[ChatMessage.from_user(TASK)])["messages"][-1].text)
