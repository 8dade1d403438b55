"""Where a call waits for those that go with it: between parts of its way that each have code of their own, about equally long.

Which of them are worth it is measured: bench/call.md, "Steps taken together". Machine code passes half of them by
(`machine_code.py`).
"""

from __future__ import annotations

from proxy.cohort import Step

PARSED = Step()
ATTRIBUTED = Step()
INTENDED = Step()
RESERVED = Step()
READ = Step()
PRICED = Step()
SETTLED = Step()
ANSWERED = Step()
