from smolagents import OpenAIServerModel, ToolCallingAgent, tool
from task import KEY, MODEL, TASK, URL, lookup

model = OpenAIServerModel(model_id=MODEL, api_base=f"{URL}/v1", api_key=KEY)
print(ToolCallingAgent(tools=[tool(lookup)], model=model, max_steps=8, verbosity_level=0).run(TASK))
