"""`taximeter report NAME`: questions about the bill, a module of `proxy.cli.reports` each."""

from __future__ import annotations

from proxy.cli.lazy import LazyGroup
from proxy.cli.options import new_app

REPORTS = {
    "explain": ("explain", "Why the bill changed between two periods, split exactly."),
    "focus": ("focus", "Cost and usage rows in the FinOps format FOCUS, as CSV or Parquet."),
    "margin": ("margin", "Which customers and plans earn money, and which lose it."),
    "month": ("month", "What each team or cost centre is charged for a month, to the cent."),
    "reconcile": ("reconcile", "Ours against a provider's own export, and what makes the difference."),
    "reprice": ("reprice", "Entries whose price was wrong or missing, and their corrections."),
    "what-if": ("what_if", "The period's calls at other models', tiers' or lists' prices."),
}


class _Reports(LazyGroup):
    modules = REPORTS
    package = "proxy.cli.reports"


app = new_app(cls=_Reports, help="Questions about the bill; each is also GET /api/reports/NAME.")


@app.callback()
def _group() -> None:
    pass
