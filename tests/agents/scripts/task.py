"""What each framework's script needs: where to ask, with which key, the task and its tool. Standard library only."""

import os
import time
from pathlib import Path

URL, KEY, FILE = os.environ["URL"], os.environ["KEY"], os.environ["FILE"]
MODEL, RESPONSES_MODEL, GEMINI_MODEL = "gpt-4o-mini", "gpt-5.4", "gemini-3.8-flash"
TASK = f"Look up six numbers. FILE={FILE}"
_PAUSE = os.environ.get("PAUSE")


def lookup(number: int) -> str:
    """Look a number up.

    Args:
        number: which number to look up
    """
    if _PAUSE and number == 3:  # the server is started anew meanwhile, where the test says so
        Path(_PAUSE).touch()
        while Path(_PAUSE).exists():
            time.sleep(0.05)
    return f"The number {number} is {number * 11}."
