import instructor
from openai import OpenAI
from pydantic import BaseModel
from task import KEY, MODEL, TASK, URL


class Lookup(BaseModel):
    number: int


client = instructor.from_openai(OpenAI(base_url=f"{URL}/v1", api_key=KEY))
print(
    "all done",
    client.chat.completions.create(
        model=MODEL, response_model=Lookup, max_retries=3, messages=[{"role": "user", "content": TASK}]
    ),
)
