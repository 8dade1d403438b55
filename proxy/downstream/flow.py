"""Whether a connection is read from and may be written to."""

from __future__ import annotations

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """is_full: what was read waits for its turn, and nothing more is read until it had that."""

    is_full = False

    def resume_reading(self) -> None:
        if not self.is_full:
            super().resume_reading()
