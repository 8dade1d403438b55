"""Evidence in, numbers out: what the ledger, the store and the metrics say against the provider's own invoice. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .accounts import judge_budgets_of, judge_limits, judge_metrics, judge_overshoot, judge_store, judge_stuck
from .charges import effective_costs, judge_blind, judge_entries, judge_intents, judge_pairs
from .evidence import NANO, Entry, Evidence
from .figures import Verdict
from .invoice import Line
from .joining import join


def judge(evidence: Evidence) -> Verdict:
    verdict = Verdict()
    client = {row["nonce"]: row for row in evidence.client or ()}
    costs: Mapping[str, int | None] = {}
    verdict.numbers["requests"] = len(evidence.invoice)
    verdict.numbers["invoice_nano"] = sum(line.billed_nano for line in evidence.invoice)
    pairs: dict[str, Entry] = {}
    if evidence.entries is not None:
        attempts = [entry for entry in evidence.entries if entry.kind == "attempt"]
        costs = effective_costs(evidence.entries)
        pairs = join(verdict, evidence.invoice, attempts, client)
        judge_pairs(verdict, evidence.invoice, pairs, costs)
        judge_entries(verdict, attempts, costs)
        judge_blind(verdict, evidence, attempts, costs)
        judge_budgets_of(verdict, evidence, pairs, client)
        if evidence.intents is not None:
            judge_intents(verdict, evidence.intents, attempts)
        if evidence.standings is not None:
            judge_store(verdict, evidence.standings, evidence.entries)
        if evidence.metrics is not None:
            judge_metrics(verdict, evidence.metrics, evidence.entries)
    if evidence.standings is not None:
        judge_stuck(verdict, evidence.standings)
        judge_limits(verdict, evidence.standings, evidence.budgets)
    if evidence.keys:
        verdict.start("leaked_keys")
        for line in evidence.invoice:
            if line.key not in evidence.keys:
                verdict.add("leaked_keys", f"{line.line} nonce {line.nonce}")
    if evidence.client is not None:
        judge_overshoot(verdict, evidence, client)
        judge_client(verdict, evidence, client, pairs, costs)
    return verdict


_REFUSALS = ("budget_exceeded", "budget_busy", "model_not_priced", "unbounded_cost", "budget_store_unavailable")


def judge_client(
    verdict: Verdict,
    evidence: Evidence,
    client: Mapping[str, Mapping[str, Any]],
    pairs: Mapping[str, Entry],
    costs: Mapping[str, int | None],
) -> None:
    verdict.start("refused_but_sent", "told_cost_difference", "client_usage_difference", "usage_withheld")
    verdict.start("usage_unasked", "failed", "conjured")
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in evidence.invoice:
        lines[line.nonce].append(line)
    for nonce, row in client.items():
        sent = lines.get(nonce, [])
        if row["code"] in _REFUSALS and sent:
            verdict.add("refused_but_sent", f"{nonce} {row['code']}")
        if row["end"] != "complete" or row["status"] != 200:
            verdict.add("failed", f"{nonce} {row['end']} {row['status']} {row['code'] or ''}")
            continue
        if not sent:
            verdict.add("conjured", nonce)
        if len(sent) == 1 and sent[0].told == "exact" and row["code"] is None:
            _judge_answer(verdict, row, sent[0])
        told = row["headers"].get("x-taximeter-cost-usd") or row["cost_usd"]
        entry = pairs.get(sent[-1].line) if sent else None
        if told is None or entry is None:
            continue
        # One that took longer than `max_call_s` was charged at its ceiling by then, and corrected when it ended.
        cost = costs[entry.id] if entry.status == "unconfirmed" else entry.cost_nano
        if told == "unknown" and (entry.usage_source != "provider" or entry.status == "unconfirmed"):
            continue  # what is estimated afterwards, or charged at its ceiling, was unknown then
        if (told == "unknown") != (cost is None) or (cost is not None and Decimal(told) * NANO != cost):
            verdict.add("told_cost_difference", f"{nonce}: told {told}, entry {entry.id} has {cost} n$")


def _judge_answer(verdict: Verdict, row: Mapping[str, Any], line: Line) -> None:
    """A whole answer with its true usage, as its client saw it. Only formats where usage must be asked for.

    Usage that stands in a chunk of its own is there because it was asked for; in a chunk with text it is the provider's.
    """
    if not line.path.endswith(("/completions", "/embeddings")):
        return
    seen = row["usage"]
    if row["stream"] and not row["asked_usage"]:
        if seen is not None and row["usage_alone"]:
            verdict.add("usage_unasked", line.nonce)
        return
    if seen is None:
        verdict.add("usage_withheld", line.nonce)
        return
    billed = Counter(line.billed)
    output = billed["output"] + billed["reasoning"]
    expected = (billed["input"] + billed["cache_read"] + billed["cache_write_5m"], output)
    if (seen.get("prompt_tokens"), seen.get("completion_tokens") or 0) != expected:
        verdict.add("client_usage_difference", f"{line.nonce}: saw {seen}, sent {dict(line.billed)}")
