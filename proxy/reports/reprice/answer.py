"""What would be, or was, repriced, as it leaves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from proxy.money import usd_text
from proxy.reports.answers import About, Answer, about
from proxy.reports.reprice.repriced import Repricing

_MOST_ROWS = 50
_SOURCES = ("each entry's usage, model, service tier and owner; prices of the book and the configuration at its end",)


class RepriceItem(BaseModel):
    """old_usd: what the entry and its corrections come to; null: it has no price."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    old_usd: str | None
    new_usd: str
    why: str


class LeftOut(BaseModel):
    """Entries that were not priced again, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    why: str
    entries: int


class RepriceShown(BaseModel):
    """difference_usd: what the corrections come to. applied: whether they are in the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: list[RepriceItem]
    difference_usd: str
    applied: bool
    left_out: list[LeftOut]
    about: About


def reprice_answer(repricing: Repricing, since: int, until: int, *, applied: bool) -> Answer:
    items = [
        RepriceItem(
            id=item.id,
            old_usd=None if item.old is None else usd_text(item.old),
            new_usd=usd_text(item.new),
            why=item.why,
        )
        for item in repricing.items
    ]
    difference = sum(item.new - (item.old or 0) for item in repricing.items)
    shown = RepriceShown(
        items=items,
        difference_usd=usd_text(difference),
        applied=applied,
        left_out=[LeftOut(why=why, entries=count) for why, count in sorted(repricing.left_out.items())],
        about=about(since, until, "UTC", _SOURCES),
    )
    verb = "were corrected" if applied else "would be corrected (--apply does it)"
    lines = [f"{len(items)} of {repricing.looked_at} entries {verb}: {usd_text(difference)} USD in all."]
    if len(items) > _MOST_ROWS:
        lines.insert(0, f"… and {len(items) - _MOST_ROWS} more; --format json has them all.")
    lines += [f"Left as they are: {left.entries}: {left.why}." for left in shown.left_out]
    return Answer(shown, [item.model_dump() for item in items[:_MOST_ROWS]], ("id", "old_usd", "new_usd", "why"), lines)
