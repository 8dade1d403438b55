"""Six programs that name no session of theirs, with two workers and a restart in the middle of each run: one session each, to
which the ledger charges every call; and with a guard of five calls, each is stopped at the fifth.

    python -m tests.agents.restart [part of a name …]
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

from tests.agents.programs import Program, chosen
from tests.agents.table import Rig, key_of, names_of, running, sessions_of, settled
from tests.support.redis import RedisServer
from tests.support.waiting import TooLateError, wait_until

NAMES = ("LangGraph", "OpenAI Agents SDK", "pydantic-ai", "AI SDK", "smolagents", "aider")
GUARD = 5


def restarted_run(rig: Rig, program: Program, number: int) -> list[str]:
    """The run, with a restart after its third tool (aider's third question); what is not as it should be."""
    rich, _ = names_of(number)
    pause, file = rig.folder / f"pause-{number}", rig.folder / rich / "work" / "notes.txt"
    done = threading.Event()

    def restart() -> None:
        try:
            wait_until(
                "the run is in its middle", lambda: done.is_set() or _in_the_middle(rig, program, pause, file), 120
            )
        except TooLateError:
            return
        if not done.is_set():
            rig.gateway.stop(30)
            rig.gateway.up("--workers", "2", timeout_s=120)
            pause.unlink(missing_ok=True)

    thread = threading.Thread(target=restart)
    thread.start()
    ran, file = rig.run(program, key_of(rich), rich, program.seconds, PAUSE=str(pause), feed=pause)
    done.set()
    thread.join()
    invoice = rig.invoice(file)
    total = settled(rig, rich, len(invoice))
    sessions = sessions_of(rig, rich)
    wrong = {
        f"ended with {ran.code}: {ran.output[-500:]}": ran.code != 0,
        f"{len(invoice)} calls": len(invoice) < program.calls,
        f"{len(sessions)} sessions: {[one['requests'] for one in sessions]}": len(sessions) != 1,
        "the cost differs": round(float(total["cost_usd"]) * 1e9) != sum(invoice),
    }
    return [what for what, is_so in wrong.items() if is_so]


def _in_the_middle(rig: Rig, program: Program, pause: Path, file: Path) -> bool:
    return pause.exists() if program.name != "aider" else len(rig.invoice(file)) >= 3


def guarded_run(rig: Rig, program: Program, number: int) -> list[str]:
    rich, _ = names_of(number)
    ran, file = rig.run(program, key_of(rich), rich, 60)
    invoice = rig.invoice(file)
    return (
        [] if len(invoice) == GUARD else [f"{len(invoice)} calls came through a guard of {GUARD}: {ran.output[-300:]}"]
    )


def main() -> int:
    programs = [program for program in chosen(sys.argv[1:]) if program.name in NAMES]
    failed = False
    print("| program | dialect | one session over two workers and a restart | stopped by a guard of five calls |")
    print("|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="agents-") as temporary, RedisServer(Path(temporary)) as redis:
        first, second = Path(temporary) / "restart", Path(temporary) / "guard"
        first.mkdir()
        second.mkdir()
        with (
            running(first, len(programs), "--workers", "2", store=redis.url) as rig,
            running(second, len(programs), guards={"max_requests": GUARD}) as guarded,
        ):
            for number, program in enumerate(programs):
                wrong = [restarted_run(rig, program, number), guarded_run(guarded, program, number)]
                failed = failed or any(wrong)
                cells = ["; ".join(one).replace("\n", " ") or "yes" for one in wrong]
                print(f"| {program.name} {program.version} | {program.dialect} | {cells[0]} | {cells[1]} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
