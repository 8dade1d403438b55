from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt import create_react_agent
from task import KEY, RESPONSES_MODEL, TASK, URL, lookup

model = ChatOpenAI(model=RESPONSES_MODEL, base_url=f"{URL}/v1", api_key=KEY, use_responses_api=True)
agent = create_react_agent(model, [tool(lookup)])
print(agent.invoke({"messages": [("user", TASK)]}, {"recursion_limit": 50})["messages"][-1].content)
