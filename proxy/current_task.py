"""Which task is asyncio's current one, for whoever has tasks of another kind, many of them one behind the other.

`_enter_task` and `_leave_task` ("Extending asyncio" in Python's documentation) are two calls each time that one goes on, and
the second is needed only behind the last of them. becomes_current: called with a loop and the task. none_is_current: with a
loop and None, behind the last.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable

becomes_current: Callable[[AbstractEventLoop, object], object]
none_is_current: Callable[[AbstractEventLoop, None], object]

if sys.version_info >= (3, 12):
    from asyncio.tasks import _swap_current_task

    becomes_current = none_is_current = _swap_current_task
else:
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]  # they are told of C's alone

    becomes_current, none_is_current = _current_tasks.__setitem__, _current_tasks.pop
