"""Writes the dashboards' JSON, and what their linter is to leave alone and why: `python -m dashboards.generate`.

A test holds what is committed against what this writes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from dashboards.board import Board
from dashboards.boards import budgets, capacity, health, latency, money, overview, sessions

FOLDER = Path(__file__).parent / "grafana"
BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    money.BOARD,
    budgets.BOARD,
    sessions.BOARD,
    latency.BOARD,
    health.BOARD,
    capacity.BOARD,
)


def text_of(board: Board) -> str:
    return json.dumps(board.json(), indent=2, ensure_ascii=False) + "\n"


def exclusions() -> str:
    """For grafana's dashboard-linter: `.lint`, in its own format (YAML, of which JSON is a part)."""
    recorded, differences = [], []
    for board in BOARDS:
        for panel in board.panels:
            for number, target in enumerate(panel.targets):
                entry = {"dashboard": board.title, "panel": panel.title, "targetIdx": str(number)}
                if re.search(r"\bjob\w*:\w+:\w+|ALERTS", target.expr):
                    recorded.append(entry)
                if "_over_time" in target.expr and "_total{" in target.expr:
                    differences.append(entry)
    rules = {
        "target-instance-rule": {
            "reason": "Recording rules and alerts on budgets and spend are over all instances of a job.",
            "entries": recorded,
        },
        "target-counter-agg-rule": {
            "reason": "Counters survive restarts: a difference is exact; increase() extrapolates and loses first values.",
            "entries": differences,
        },
    }
    return json.dumps({"exclusions": rules}, indent=2) + "\n"


def files() -> dict[Path, str]:
    """Everything that is generated."""
    return {FOLDER / f"{board.uid}.json": text_of(board) for board in BOARDS} | {FOLDER / ".lint": exclusions()}


def main() -> None:
    for file, text in files().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
