"""The store's scripts, one verb a file in `lua/`, and the names that they and Python share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from proxy.types import Claim

ROOT = "tm1"
"""Before every name in Redis; the number changes with the meaning of what lies there."""

EPOCHS = f"{ROOT}:epochs"
"""The channel on which whatever becomes of epochs is told: whoever waits for one looks again."""

CONVERSATION = f"{ROOT}:conversation:"
"""Before the name of one, whatever epoch runs."""

_NEARLY_FULL = 0.8  # of maxmemory
_LUA = Path(__file__).parent / "lua"
_VERBS = (
    "reserve", "settle", "release", "charge", "sweep", "expired", "written", "join", "open", "seed", "restore",
    "standings", "forget", "session", "guard", "renew", "lease", "unlease", "drop", "load", "keep",
    "rebase",
)  # fmt: skip


@cache
def scripts() -> Mapping[str, tuple[str, str]]:
    """The verbs: SHA-1 and text of each."""
    common = (_LUA / "common.lua").read_text(encoding="utf-8")
    texts = {verb: common + (_LUA / f"{verb}.lua").read_text(encoding="utf-8") for verb in _VERBS}
    return {verb: (hashlib.sha1(text.encode()).hexdigest(), text) for verb, text in texts.items()}  # noqa: S324 - Redis's names


def bucket(budget: str, measure: str, window_start: int) -> str:
    return f"{measure}:{window_start}:{budget}"


def unbucket(name: str) -> tuple[str, str, int]:
    """Budget, measure, window start."""
    measure, start, budget = name.split(":", 2)
    return budget, measure, int(start)


def bucket_of(claim: Claim) -> str:
    return f"{claim.measure}:{claim.window_start}:{claim.budget}"


def end_of(claim: Claim) -> str | int:
    """The end of the claim's window, as scripts take it."""
    return "" if claim.window_end is None else claim.window_end


def facts(info: str) -> dict[str, str]:
    """Redis's INFO as a mapping."""
    return dict(line.split(":", 1) for line in info.splitlines() if ":" in line)


def problems(info: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Why a server with these facts cannot hold budgets, and what its operator should know."""
    unfit, doubtful = [], []
    version = info.get("redis_version", "0")
    if int(version.partition(".")[0]) < 7:
        unfit.append(f"Redis {version} is too old: 7 or newer is needed")
    if info.get("redis_mode") == "cluster" or info.get("cluster_enabled") == "1":
        unfit.append(
            "this Redis is a Cluster, in which the counters of one call may lie on several servers: give the address of a "
            "single Redis, or of Sentinels (redis+sentinel://…)"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        unfit.append(f"Redis may throw budgets away: maxmemory-policy is {policy}, and must be noeviction")
    if info.get("role", "master") != "master":
        unfit.append("this Redis is a replica: give the address of the one that takes writes")
    if info.get("aof_enabled") == "0":
        doubtful.append("Redis writes no append-only file: after a restart, counters are rebuilt from the ledger")
    return unfit, doubtful


def nearly_full(info: Mapping[str, str]) -> str:
    """What the operator should know of a server with these facts; "" where there is room. Full, it refuses every call."""
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most or used < _NEARLY_FULL * most:
        return ""
    return (
        "Redis is nearly full; when it is, every call under a hard budget is refused: raise its maxmemory "
        "(what is kept for ever is the budgets with `window: total`, 50,000 groups of each)"
    )
