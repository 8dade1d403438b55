"""OpenRouter's activity: by day, as its API gives it (JSON) or its page exports it (CSV), or call by call (CSV). Pure.

Fields of `GET /api/v1/activity` (openrouter.ai/docs, "Get user activity grouped by endpoint"; days of UTC). The page's exports
(openrouter.ai/docs, "Activity export") by published files of 2026: `Date, Slug, Usage, BYOK Usage, Requests, Prompt Tokens, …`
by day, `generation_id, created_at, cost_total, …, model_permaslug, …, variant, …` by call. `usage` and `cost_total` are credits
spent: what a provider bills to a key of one's own is not among them. Reasoning is in the completion's tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from proxy.reports.reconcile.bills.format import Asked, Format, Row, first
from proxy.reports.reconcile.stated import Stated, day_of, dollars, kind_of, number

_DAY = "date|day|created_at|timestamp"
_MODEL = "model|model_permaslug|slug"
_USD = "usage|cost|cost_total|total_cost|amount_usd"
_CURRENCY = "currency|currency_code|billing_currency|cost_currency|amount_currency"
_TOKENS = ("prompt_tokens|tokens_prompt", "completion_tokens|tokens_completion")


def _calls(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for row in rows:
        variant = str(row.get("variant") or "standard")
        model = str(row["model_permaslug"]) + (f":{variant}" if variant != "standard" else "")
        created = str(row["created_at"]).removesuffix("Z").removesuffix(" UTC").removesuffix("+00:00")
        usd = number(row["cost_total"])
        yield Stated(day_of(f"{created}+00:00", asked.zone), model, None, usd, _tokens(row), kind_of(usd))


def _days(rows: Iterable[Row], asked: Asked) -> Iterator[Stated]:
    for row in rows:
        dollars(first(row, _CURRENCY))
        usd = number(first(row, _USD))
        yield Stated(
            day_of(str(first(row, _DAY)), asked.zone), first(row, _MODEL), None, usd, _tokens(row), kind_of(usd)
        )


def _tokens(row: Row) -> Decimal | None:
    counts = [amount for columns in _TOKENS if (amount := number(first(row, columns))) is not None]
    return sum(counts, Decimal(0)) if counts else None


_OF = ("openrouter",)
FORMATS = (
    Format(
        _OF,
        "OpenRouter's activity, call by call",
        ("generation_id", "created_at", "cost_total", "model_permaslug"),
        _calls,
    ),
    Format(_OF, "OpenRouter's activity", ("date", _MODEL, "usage"), _days),
)
DAYS = Format((), "a table of days, models and costs", (_DAY, _MODEL, _USD), _days)
"""Any that says no more than this."""
