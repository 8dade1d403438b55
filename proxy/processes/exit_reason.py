"""Why a process ended, for a person who may have killed nothing."""

from __future__ import annotations

import signal


def exit_reason(code: int) -> str:
    """code: as `os.waitstatus_to_exitcode` has it."""
    if code == -signal.SIGKILL:
        return "killed: by a person, or by the kernel where memory ran out, which `dmesg` says then"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
