import dspy
from task import KEY, MODEL, TASK, URL

dspy.configure(lm=dspy.LM(f"openai/{MODEL}", api_base=f"{URL}/v1", api_key=KEY, cache=False))
for _ in range(1):  # its answers have a form of their own: one call
    print(dspy.settings.lm(TASK)[0])
