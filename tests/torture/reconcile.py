"""The auditor, a program of its own: joins client log, invoice, ledger, store and metrics into verdict numbers.

    python -m tests.torture.reconcile --invoice FILE --client LOG --ledger sqlite:///FILE \\
        --budgets URL|FILE --metrics URL|FILE --config FILE [--clean] [--json FILE]

Prints a table (and JSON to a file) and exits 1 unless all numbers that must be zero are. `--config` is the gateway's
own configuration (YAML): its budgets and its upstreams' keys are read from it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from . import evidence as read
from .evidence import Evidence
from .figures import NUMBERS, Verdict
from .invoice import read_invoice
from .verdict import judge


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the evidence is; what is None is not judged. `budgets` and `metrics` are URLs or files."""

    invoice: Path
    client: tuple[Path, ...] = ()
    ledger: str | None = None
    budgets: str | None = None
    metrics: str | None = None
    admin_key: str | None = None
    config: Path | None = None
    spool_intents: frozenset[str] | None = None


def gather(sources: Sources) -> Evidence:
    config: dict[str, Any] = yaml.safe_load(sources.config.read_text()) if sources.config else {}
    budgets = read.fetch(sources.budgets, sources.admin_key) if sources.budgets else None
    metrics = read.fetch(sources.metrics, sources.admin_key) if sources.metrics else None
    return Evidence(
        invoice=read_invoice(sources.invoice),
        client=read.read_client(sources.client) if sources.client else None,
        entries=read.read_ledger(sources.ledger) if sources.ledger else None,
        standings=read.read_standings(budgets) if budgets else None,
        metrics=read.read_metrics(metrics) if metrics else None,
        intents=set(sources.spool_intents) if sources.spool_intents is not None else None,
        budgets=config.get("budgets") or [],
        keys={row["api_key"]: name for name, row in (config.get("upstreams") or {}).items() if row.get("api_key")},
    )


def table(verdict: Verdict, clean: bool) -> str:
    """One line a number: `!` marks what is wrong, then up to three cases of it."""
    wrong = set(verdict.wrong(clean))
    lines = []
    for name, (need, meaning) in NUMBERS.items():
        if name not in verdict.numbers:
            continue
        zero = need == "zero" or (need == "zero if clean" and clean)
        mark = "!" if name in wrong else " "
        lines.append(f"{mark} {name:28} {verdict.numbers[name]!s:>16}  {'= 0' if zero else '   '}  {meaning}")
        if name in wrong:
            lines += [f"      {case}" for case in verdict.findings.get(name, [])[:3]]
    for name, figures in verdict.budgets.items():
        lines.append(f"  budget {name}: {figures['most_nano']} of {figures['limit_nano']} n$ on the invoice")
    left_out = [name for name in NUMBERS if name not in verdict.numbers]
    if left_out:
        lines.append(f"  not judged for want of evidence: {', '.join(left_out)}")
    lines.append("WRONG: " + ", ".join(sorted(wrong)) if wrong else "all numbers that must be zero are zero")
    return "\n".join(lines)


def to_json(verdict: Verdict, clean: bool) -> str:
    def plain(value: Any) -> Any:
        return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else str(value)

    made = {"wrong": verdict.wrong(clean), "numbers": verdict.numbers, "budgets": verdict.budgets}
    return json.dumps(made | {"findings": verdict.findings}, indent=1, default=plain)


def main() -> None:
    parser = argparse.ArgumentParser(prog="reconcile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--invoice", type=Path, required=True)
    parser.add_argument("--client", type=Path, action="append", default=[])
    parser.add_argument("--ledger", help="sqlite:///FILE or postgresql://…")
    parser.add_argument("--budgets", help="URL of /api/budgets, or a file with its answer")
    parser.add_argument("--metrics", help="URL of /metrics, or a file with its answer")
    parser.add_argument("--config", type=Path, help="the gateway's configuration")
    parser.add_argument(
        "--clean", action="store_true", help="nothing crashed, broke or left: estimates must be zero too"
    )
    parser.add_argument("--json", type=Path, help="where to write the verdict as JSON")
    args = parser.parse_args()
    sources = Sources(
        invoice=args.invoice,
        client=tuple(args.client),
        ledger=args.ledger,
        budgets=args.budgets,
        metrics=args.metrics,
        admin_key=os.environ.get("TAXIMETER_ADMIN_KEY"),
        config=args.config,
    )
    verdict = judge(gather(sources))
    print(table(verdict, args.clean))
    if args.json:
        args.json.write_text(to_json(verdict, args.clean))
    sys.exit(1 if verdict.wrong(args.clean) else 0)


if __name__ == "__main__":
    main()
