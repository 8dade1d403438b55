import asyncio
import os
import sys

from task import GEMINI_MODEL, KEY, MODEL, TASK, URL, lookup

os.environ |= {"GOOGLE_GEMINI_BASE_URL": URL, "GOOGLE_API_KEY": KEY, "GOOGLE_GENAI_USE_VERTEXAI": "0"}

from google.adk.agents import Agent
from google.adk.runners import InMemoryRunner
from google.genai import types


async def main() -> None:
    model = GEMINI_MODEL
    if "litellm" in sys.argv:
        from google.adk.models.lite_llm import LiteLlm

        model = LiteLlm(model=f"openai/{MODEL}", api_base=f"{URL}/v1", api_key=KEY)
    runner = InMemoryRunner(agent=Agent(name="six", model=model, tools=[lookup]), app_name="six")
    session = await runner.session_service.create_session(app_name="six", user_id="u")
    message = types.Content(role="user", parts=[types.Part(text=TASK)])
    async for event in runner.run_async(user_id="u", session_id=session.id, new_message=message):
        if event.is_final_response() and event.content:
            print(event.content.parts[0].text)


asyncio.run(main())
