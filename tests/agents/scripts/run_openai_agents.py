from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI
from task import KEY, RESPONSES_MODEL, TASK, URL, lookup

set_tracing_disabled(True)
set_default_openai_client(AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY))
agent = Agent(name="six", model=RESPONSES_MODEL, tools=[function_tool(lookup)])
print(Runner.run_sync(agent, TASK, max_turns=20).final_output)
