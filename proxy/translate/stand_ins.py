"""Stand-ins for three modules of LiteLLM's proxy: two that its Anthropic messages import to log their streams, and the proxy
itself, which each of those calls tries to import.

The real ones bring the whole proxy with them: its web server, its database, and packages that are not installed with the
library (1.110.2; findings/litellm-messages-stream.sh). Nothing here logs; the bytes of a stream pass.
Without the last, Python would look for the proxy, and compile what it finds of it, at every call.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

_PACKAGE = "litellm.proxy.pass_through_endpoints."
MODULES = {
    "soundfile": (),
    _PACKAGE + "success_handler": ("PassThroughEndpointLogging",),
    _PACKAGE + "streaming_handler": ("PassThroughStreamingHandler",),
}

ABSENT = ("litellm.proxy.proxy_server",)


class PassThroughEndpointLogging:
    """Logs nothing."""


class PassThroughStreamingHandler:
    """Passes a stream, and logs nothing."""

    @staticmethod
    async def chunk_processor(response: Any, **_: object) -> AsyncIterator[bytes]:
        """The bytes of a response of httpx's."""
        async for data in response.aiter_bytes():
            yield data

    @staticmethod
    async def route_streaming_logging_to_handler(**_: object) -> None:
        """Log nothing."""

    schedule_stream_failure_logging = route_streaming_logging_to_handler


def install() -> None:
    """Before LiteLLM is imported."""
    for name, members in MODULES.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member, globals()[member])
        sys.modules.setdefault(name, module)
    for name in ABSENT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: an import says at once that there is no such module
