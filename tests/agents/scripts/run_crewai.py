import os

os.environ |= {"OTEL_SDK_DISABLED": "true", "CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from task import KEY, MODEL, TASK, URL, lookup

model = LLM(model=f"openai/{MODEL}", base_url=f"{URL}/v1", api_key=KEY)
agent = Agent(role="six", goal="look up", backstory="none", llm=model, tools=[tool("lookup")(lookup)])
task = Task(description=TASK, expected_output="numbers", agent=agent)
print(Crew(agents=[agent], tasks=[task]).kickoff())
