from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt import create_react_agent
from task import KEY, MODEL, TASK, URL, lookup

model = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key=KEY)
agent = create_react_agent(model, [tool(lookup)])
print(agent.invoke({"messages": [("user", TASK)]}, {"recursion_limit": 50})["messages"][-1].content)
