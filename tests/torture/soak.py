"""Mixed traffic for a long time: what a process holds (memory, descriptors, threads) does not grow with what it has served."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from .harness import Rig
from .scenarios import Outcome
from .traffic import Traffic

_EVERY_S = 2.0
_WARM_SHARE = 0.3  # of the samples, until caches and pools are what they will be


@dataclass(frozen=True, slots=True)
class Sample:
    """Of all the gateway's processes: proportional memory in MB, open descriptors, threads."""

    memory_mb: float
    descriptors: int
    threads: int


def sample(rig: Rig) -> Sample:
    memory_kb = descriptors = threads = 0
    for pid in rig.gateway.members():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            descriptors += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            threads += sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            continue
        memory_kb += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return Sample(memory_kb / 1024, descriptors, threads)


def soak(
    folder: Path, *, minutes: float = 20, rate: float = 100, seed: int = 1, slack_mb: float = 5, in_turn: bool = False
) -> Outcome:
    """A verdict that must be clean but for callers that leave; and what grew by how much, from warm to the end.

    in_turn: as many calls, and 16 at a time, however long they take: where a machine cannot take so many a second, those that wait
    grow in number, and their connections with them.
    """
    wanted = Traffic(
        calls=int(minutes * 60 * rate), rate=0 if in_turn else rate, seed=seed, sessions=500, stream=0.5, chunk_delay=(0, 0.004),
        delay=(0, 0.1), out=(0, 60),
        kinds={"chat": 6.0, "completions": 1.0, "embeddings": 1.0, "responses": 1.0, "messages": 1.0, "gemini": 1.0},
        leave={"": 19.0, "fin": 0.5, "rst": 0.5},
    )  # fmt: skip
    with Rig(folder) as rig:
        load = rig.begin_load(wanted)
        assert load.process is not None
        samples = []
        while load.process.poll() is None:
            samples.append(sample(rig))
            time.sleep(_EVERY_S)
        summary = rig.end_load(load)
        rig.quiet()
        samples.append(sample(rig))
        warm = samples[int(len(samples) * _WARM_SHARE) : -1]
        tenth = max(1, len(warm) // 10)
        first, last = warm[:tenth], warm[-tenth:]

        def grown(name: str) -> float:
            return statistics.median(getattr(s, name) for s in last) - statistics.median(
                getattr(s, name) for s in first
            )

        growth = {name: round(grown(name), 1) for name in ("memory_mb", "descriptors", "threads")}
        rest = samples[-1]
        ends: dict[str, list[str]] = {}
        # Tables of the latest conversations, sessions and ids fill up, some 400 bytes a call, until they have 100,000.
        filling_mb = min(wanted.calls, 100_000) * 400 / 1e6
        if growth["memory_mb"] > slack_mb + filling_mb or growth["descriptors"] > 20 or growth["threads"] > 0:
            ends["grew"] = [str(growth)]
        facts = {"load": summary, "growth": growth, "samples": len(samples), "first": first[0], "at_rest": rest}
        return Outcome(rig.verdict(clean=False), False, facts, ends)
