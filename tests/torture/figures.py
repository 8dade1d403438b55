"""The verdict's numbers: what each means, and whether it must be zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

Need = Literal["zero", "zero if clean", "told"]

# name -> (must it be zero, meaning). The order is the order of the table.
NUMBERS: dict[str, tuple[Need, str]] = {
    "missing": ("zero", "requests on the invoice without a ledger entry"),
    "double": ("zero", "further entries for a request that has one"),
    "phantom": ("zero", "settled entries for which the provider has no request"),
    "false_void": ("zero", "entries `void` (surely never sent) for requests on the invoice"),
    "crossed": ("zero", "requests that two ways of joining give to different entries"),
    "intents_without_entry": ("zero", "unrefused intents in the spool that have no entry"),
    "entries_without_intent": ("zero", "entries that are neither in the spool's intents nor older than it"),
    "price_difference": ("zero", "entries whose cost is not the invoice's, though the usage was told"),
    "price_difference_nano": ("told", "their differences, without sign"),
    "usage_difference": ("zero", "entries whose units are not the invoice's, though the usage was told"),
    "line_difference": ("zero", "entries whose cost lines do not add up to their cost"),
    "under_estimated": ("zero", "entries without told usage that cost less than the invoice"),
    "under_estimated_nano": ("told", "what they lack"),
    "negative": ("zero", "entries that cost less than nothing, corrections included"),
    "above_ceiling": ("zero", "entries that cost more than was reserved for them"),
    "unpriced": ("zero", "entries without a cost for requests that cost something"),
    "unflagged_lies": ("zero", "wrong or impossible usage that was taken without a flag"),
    "blind_missing": ("zero", "by key and model: requests that the invoice has more of than the ledger"),
    "blind_under_nano": ("zero", "by key and model: money that the invoice has more of than the ledger"),
    "overshoot_nano": ("zero", "money that hard budgets let pass, on the invoice's own time line"),
    "charged_above_limit_nano": ("zero if clean", "money that hard budgets' counters have above their limit"),
    "window_spent_twice": ("zero", "windows of a budget in which more was spent than its limit"),
    "refused_but_sent": ("zero", "calls whose client was refused, but which reached the provider"),
    "conjured": ("zero", "whole answers that the provider did not give"),
    "stuck": ("zero", "budget counters with something reserved"),
    "stuck_nano": ("told", "what they have reserved"),
    "store_difference": ("zero", "budget counters that are not the sum of their entries"),
    "store_difference_nano": ("told", "their differences, without sign"),
    "uncounted": ("zero", "entries that lack a budget they belong to, or have one they do not"),
    "metric_cost_difference_nano": ("zero", "cost in the metrics against the ledger, without sign"),
    "metric_tokens_difference": ("zero", "tokens in the metrics against the ledger, over all units"),
    "metric_requests_difference": ("zero", "requests in the metrics against the ledger"),
    "unverified": ("zero", "what the gateway's own audit, `taximeter verify`, found in its ledger"),
    "dropped": ("zero", "`ledger_dropped_total`"),
    "told_cost_difference": ("zero", "calls whose client was told a cost that is not the ledger's"),
    "client_usage_difference": ("zero", "complete answers whose client saw another usage than the provider sent"),
    "usage_withheld": ("zero", "complete streams whose client asked for usage and did not get it"),
    "usage_unasked": ("zero", "complete streams whose client got usage without asking"),
    "leaked_keys": ("zero", "requests with a key that is none of the upstreams'"),
    "over_estimated": ("zero if clean", "entries without told usage that cost more than the invoice"),
    "over_estimated_nano": ("told", "what they have too much"),
    "over_estimated_percent": ("told", "of what the invoice has for entries without told usage"),
    "unconfirmed": ("zero if clean", "entries charged at their ceiling"),
    "unsent": ("zero if clean", "unconfirmed entries for which the provider has no request"),
    "failed": ("zero if clean", "calls that their client did not see end well, or not with 200"),
    "other_failures": ("zero", "calls that ended otherwise than by an answer, an empty budget or 503"),
    "guessed": ("zero if clean", "requests joined by nothing but model and time"),
    "requests": ("told", "requests on the invoice"),
    "entries": ("told", "attempts in the ledger"),
    "void": ("told", "of these: surely never sent"),
    "invoice_nano": ("told", "what the provider bills"),
    "ledger_nano": ("told", "what the ledger has, corrections included"),
}


@dataclass(slots=True)
class Verdict:
    """`numbers` has only what could be computed from the evidence; `findings` names up to 20 cases of each."""

    numbers: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    budgets: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, name: str, what: str, amount: int | Decimal = 1) -> None:
        self.numbers[name] = self.numbers.get(name, 0) + amount
        named = self.findings.setdefault(name, [])
        if len(named) < 20:
            named.append(what)

    def start(self, *names: str) -> None:
        for name in names:
            self.numbers.setdefault(name, 0)

    def wrong(self, clean: bool) -> list[str]:
        """The numbers that should be zero and are not. `clean`: nothing crashed, broke or left."""
        needs = ("zero", "zero if clean") if clean else ("zero",)
        return [name for name, value in self.numbers.items() if value and NUMBERS[name][0] in needs]
