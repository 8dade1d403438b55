from agno.agent import Agent
from agno.models.openai import OpenAIChat
from task import KEY, MODEL, TASK, URL, lookup

agent = Agent(model=OpenAIChat(id=MODEL, base_url=f"{URL}/v1", api_key=KEY), tools=[lookup], telemetry=False)
print(agent.run(TASK).content)
