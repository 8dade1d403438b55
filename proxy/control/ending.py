"""When the control process ends that was told to: not before data planes that drain, whose last records it ships."""

from __future__ import annotations

import asyncio

from proxy.processes.link import ControlServer

_LOOK_S = 0.05
_ALIKE_S = 2.0  # in which a signal to all has reached the data planes, too


async def end_behind(link: ControlServer | None, stop: asyncio.Event) -> None:
    """Set `stop` once no data plane is left. The supervisor tells this process when that is so; who signals all processes at
    once tells it while they drain, and what they write then is to be recorded, too. Where they go on, it alone was told, and
    the supervisor starts it again."""
    loop = asyncio.get_running_loop()
    alone_at = loop.time() + _ALIKE_S
    while link is not None and link.workers:
        if any((await link.ask("stopping")).values()):
            alone_at = loop.time() + _ALIKE_S  # one that drains may end while another goes on
        elif loop.time() >= alone_at:
            break
        await asyncio.sleep(_LOOK_S)
    stop.set()
