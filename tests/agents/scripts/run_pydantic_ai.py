import sys

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from task import KEY, MODEL, RESPONSES_MODEL, TASK, URL, lookup

provider = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
chat = "chat" in sys.argv
model = OpenAIChatModel(MODEL, provider=provider) if chat else OpenAIResponsesModel(RESPONSES_MODEL, provider=provider)
print(Agent(model, tools=[lookup]).run_sync(TASK).output)
