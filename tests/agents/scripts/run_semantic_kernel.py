import asyncio

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from task import KEY, MODEL, TASK, URL
from task import lookup as look


class Plugin:
    @kernel_function(name="lookup", description="Look a number up")
    def lookup(self, number: int) -> str:
        return look(int(number))


async def main() -> None:
    service = OpenAIChatCompletion(ai_model_id=MODEL, async_client=AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY))
    choice = FunctionChoiceBehavior.Auto()
    choice.maximum_auto_invoke_attempts = 10
    print(
        (
            await ChatCompletionAgent(
                service=service, name="six", plugins=[Plugin()], function_choice_behavior=choice
            ).get_response(TASK)
        ).content
    )


asyncio.run(main())
