"""Whether the ledger charges what the invoice does: entry by entry, by its own lines, and in blind sums. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from .evidence import NANO, Entry, Evidence
from .figures import Verdict
from .invoice import Line


def effective_costs(entries: Iterable[Entry]) -> dict[str, int | None]:
    """Cost by attempt, with what corrections added or took."""
    costs: dict[str, int | None] = {}
    corrections: Counter[str] = Counter()
    for entry in entries:
        if entry.kind == "attempt":
            costs[entry.id] = entry.cost_nano
        elif entry.corrects_id is not None:
            corrections[entry.corrects_id] += entry.cost_nano or 0
    return {id_: (cost if id_ not in corrections else (cost or 0) + corrections[id_]) for id_, cost in costs.items()}


_LEFT = ("client_disconnected", "client_left", "cut")


def judge_pairs(
    verdict: Verdict, invoice: list[Line], pairs: Mapping[str, Entry], costs: Mapping[str, int | None]
) -> None:
    verdict.start("price_difference", "price_difference_nano", "usage_difference", "under_estimated", "unpriced")
    verdict.start("under_estimated_nano", "over_estimated", "over_estimated_nano", "false_void", "unflagged_lies")
    untold = 0
    for line in invoice:
        entry = pairs.get(line.line)
        if entry is None:
            continue
        what, cost = f"{line.line} nonce {line.nonce} entry {entry.id}", costs[entry.id]
        if entry.status == "void":
            verdict.add("false_void", what)
        elif cost is None:
            if line.billed_nano:
                verdict.add("unpriced", what)
        elif line.told in ("odd", "lie") and entry.usage_source == "provider":
            if not entry.flags and (cost != line.billed_nano or line.told == "lie"):
                verdict.add("unflagged_lies", f"{what}: {cost} against {line.billed_nano} n$")
        elif _exact(line, entry):
            _judge_exact(verdict, line, entry, cost, what)
        else:
            untold += line.billed_nano
            difference = cost - line.billed_nano
            name = "over_estimated" if difference > 0 else "under_estimated"
            if difference:
                verdict.add(name, f"{what}: {cost} against {line.billed_nano} n$, {entry.status} {entry.usage_source}")
                verdict.add(f"{name}_nano", what, abs(difference))
    over = verdict.numbers["over_estimated_nano"]
    verdict.numbers["over_estimated_percent"] = round(100 * over / untold, 2) if untold else 0


def _exact(line: Line, entry: Entry) -> bool:
    """Whether the entry must have the invoice's very figures: the usage was told, and nothing kept it from being read.

    An entry charged at its ceiling was not read to its end, nor is one surely whose caller left meanwhile. A refusal
    with status 200 says nothing about money, so it may have been estimated.
    """
    if line.told not in ("exact", "refused") or entry.status != "settled":
        return False
    return entry.usage_source == "provider" or (line.told == "exact" and entry.outcome not in _LEFT)


def _judge_exact(verdict: Verdict, line: Line, entry: Entry, cost: int, what: str) -> None:
    if cost != line.billed_nano:
        verdict.add("price_difference", f"{what}: {cost} against {line.billed_nano} n$")
        verdict.add("price_difference_nano", what, abs(cost - line.billed_nano))
    if {unit: Decimal(quantity) for unit, quantity in line.billed.items()} != entry.usage:
        used = {unit: str(quantity) for unit, quantity in entry.usage.items()}
        verdict.add("usage_difference", f"{what}: {used} against {line.billed}")


def judge_entries(verdict: Verdict, attempts: list[Entry], costs: Mapping[str, int | None]) -> None:
    verdict.start("line_difference", "negative", "above_ceiling")
    verdict.numbers["entries"] = len(attempts)
    verdict.numbers["void"] = sum(entry.status == "void" for entry in attempts)
    verdict.numbers["unconfirmed"] = sum(entry.status == "unconfirmed" for entry in attempts)
    verdict.numbers["ledger_nano"] = sum(cost or 0 for cost in costs.values())
    for entry in attempts:
        cost = costs[entry.id] or 0
        if cost < 0:
            verdict.add("negative", f"{entry.id} {cost} n$")
        if entry.reserved_nano is not None and cost > entry.reserved_nano:
            verdict.add("above_ceiling", f"{entry.id}: {cost} n$, reserved {entry.reserved_nano}")
        if not entry.cost_lines or entry.cost_nano is None:
            continue
        if any(line.get("cost_usd") is None for line in entry.cost_lines):
            continue
        total = sum((Decimal(line["cost_usd"]) for line in entry.cost_lines), Decimal(0)) * NANO
        each = all(
            Decimal(str(line["quantity"])) * Decimal(line["price_usd"]) / line["per"] == Decimal(line["cost_usd"])
            for line in entry.cost_lines
        )
        if not each or int(total.quantize(Decimal(1), "ROUND_HALF_EVEN")) != entry.cost_nano:
            verdict.add("line_difference", f"{entry.id}: lines make {total} n$, the entry has {entry.cost_nano}")


def judge_blind(verdict: Verdict, evidence: Evidence, attempts: list[Entry], costs: Mapping[str, int | None]) -> None:
    """By key and model, without any id. Lies are left out of the money where a model has them."""
    verdict.start("blind_missing", "blind_under_nano")
    counts: Counter[tuple[str, str]] = Counter()
    money: Counter[tuple[str, str]] = Counter()
    lied: set[tuple[str, str]] = set()
    for line in evidence.invoice:
        group = (evidence.keys.get(line.key, ""), line.model)
        counts[group] += 1
        money[group] += line.billed_nano
        if line.told == "lie":
            lied.add(group)
    for entry in attempts:
        group = (entry.upstream if evidence.keys else "", entry.model)
        counts[group] -= entry.status != "void"
        money[group] -= costs[entry.id] or 0
    for group, number in counts.items():
        if number > 0:
            verdict.add("blind_missing", "/".join(group), number)
    for group, difference in money.items():
        if difference > 0 and group not in lied:
            verdict.add("blind_under_nano", "/".join(group), difference)


def judge_intents(verdict: Verdict, intents: set[str], attempts: list[Entry]) -> None:
    verdict.start("intents_without_entry", "entries_without_intent")
    ids = {entry.id for entry in attempts}
    for intent in sorted(intents - ids):
        verdict.add("intents_without_entry", intent)
    for entry in sorted(ids - intents):
        verdict.add("entries_without_intent", entry)
