from strands import Agent, tool
from strands.models.openai import OpenAIModel
from task import KEY, MODEL, TASK, URL, lookup

model = OpenAIModel(client_args={"base_url": f"{URL}/v1", "api_key": KEY}, model_id=MODEL)
print(Agent(model=model, tools=[tool(lookup)], callback_handler=None)(TASK))
