"""Ours against theirs, as it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict
from sqlalchemy.engine import Engine

from pricing.book import Book
from proxy.ledger.entries.entry import Entry
from proxy.ledger.notes.reconciliations import Reconciliation
from proxy.money import NANO, is_short, usd_text
from proxy.reports.answers import About, Answer, about
from proxy.reports.reconcile.bills import BILLED
from proxy.reports.reconcile.comparison import Reconciliation as Comparison
from proxy.reports.reconcile.comparison import day_edge, reconcile, span_of
from proxy.reports.reconcile.invoiced import settle
from proxy.reports.reconcile.statement import Statement, read_statement
from proxy.reports.spend import entries_since, spend
from proxy.times import DAY_US, BadQuestion, rfc3339

_MOST_DAYS = 3700  # each is read on its own
_MOST_NANOUSD = 2**63 - 1
_COLUMNS = ("day", "model", "line_item", "ours_usd", "theirs_usd", "difference_usd", "causes", "unexplained_usd")


class ReconcileQuestion(NamedTuple):
    """since, until: epoch microseconds, of which whole days are compared; None: as far as the file goes. zone: whose days the
    provider counts. apply: what the invoice settles is going to be written. made_at: when the file was written, epoch
    microseconds; None: now. whole: it has all that the provider charged."""

    provider: str
    text: str
    since: int | None = None
    until: int | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    apply: bool = False
    made_at: int | None = None
    whole: bool = False


class Cause(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    usd: str


class ReconcileItem(BaseModel):
    """ours_usd: null: of its day and model there are calls, and none has a price. difference_usd: theirs less ours; null: with
    it. line_item: null: the file does not tell lines apart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    day: str
    model: str | None
    line_item: str | None
    ours_usd: str | None
    theirs_usd: str
    difference_usd: str | None
    causes: list[Cause]
    unexplained_usd: str


class SettledItem(BaseModel):
    """An entry that stands at its ceiling, and what the invoice says of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    day: str
    model: str | None
    ceiling_usd: str
    invoice_usd: str


class NotSettled(BaseModel):
    """Entries that stay at their ceilings, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    why: str
    entries: int


class ReconcileShown(BaseModel):
    """ours_usd, difference_usd: null: none of the calls has a price. unexplained_usd: of all lines, without regard to signs.
    causes: of all lines. settled: unconfirmed entries that the invoice settles; applied: whether their corrections are in the
    ledger (the figures above are those before them)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: list[ReconcileItem]
    ours_usd: str | None
    theirs_usd: str
    difference_usd: str | None
    causes: list[Cause]
    unexplained_usd: str
    settled: list[SettledItem]
    not_settled: list[NotSettled]
    applied: bool
    about: About


class Reconciled(NamedTuple):
    """share: what is unexplained, of what the provider says (of ours where it says nothing). corrections: of `settled`. run: to
    be kept, once it has the file's name."""

    answer: Answer
    share: Fraction
    corrections: Sequence[Entry]
    run: Reconciliation


def tolerance_of(text: str) -> Fraction:
    """`0.5%`, or a share such as 0.005. Raises `BadQuestion`."""
    try:
        value = Decimal(text.strip().removesuffix("%"))
    except InvalidOperation:
        value = Decimal("NaN")
    if not is_short(value) or value < 0:
        raise BadQuestion(f"{text!r} is not a tolerance: write one such as 0.5%")
    return Fraction(value) / (100 if text.strip().endswith("%") else 1)


def reconcile_answer(engine: Engine, book: Book, question: ReconcileQuestion, now_us: int) -> Reconciled:
    """Raises `BadQuestion`."""
    provider = book.catalog.canonical(question.provider)
    statement = _bill_of(provider, question)
    begins, ends = _whole_days(statement, question)
    compared = reconcile(engine, book, provider, statement, (begins, ends), question.zone)
    if max(abs(compared.theirs), compared.unexplained) > _MOST_NANOUSD:
        raise BadQuestion("the file's amounts come to more than a ledger can keep")
    made_at = now_us if question.made_at is None else min(now_us, question.made_at)
    settling = settle(
        engine, book, provider, statement, compared, (begins, ends), question.zone, made_at, whole=question.whole
    )
    items, totals, unknown = [], dict[str, Fraction](), compared.unknown
    for (day, model, line), cell in compared.cells.items():
        for name, amount in cell.causes.items():
            totals[name] = totals.get(name, Fraction(0)) + amount
        if not (cell.ours or cell.theirs or cell.rows):
            continue
        is_known = (day, model) not in unknown
        items.append(
            ReconcileItem(
                day=day,
                model=model,
                line_item=line,
                ours_usd=usd_text(cell.ours) if is_known else None,
                theirs_usd=_usd(cell.theirs),
                difference_usd=_usd(cell.difference) if is_known else None,
                causes=_causes(cell.causes),
                unexplained_usd=_usd(cell.left),
            )
        )
    caveats = _caveats(engine, book, provider, statement, compared, begins, ends)
    if not question.whole and (free := sum(not item.cost for item in settling.items)):
        caveats.append(
            f"{free} of the unconfirmed entries come to 0, as the file has no more than our other calls of that day and model: "
            "if it was filtered by a key or project that these did not go by, it says nothing of them"
        )
    shown = ReconcileShown(
        items=items,
        ours_usd=usd_text(compared.ours) if compared.is_known else None,
        theirs_usd=_usd(compared.theirs),
        difference_usd=_usd(compared.theirs - compared.ours) if compared.is_known else None,
        causes=_causes(totals),
        unexplained_usd=_usd(compared.unexplained),
        settled=[
            SettledItem(
                id=item.id,
                day=item.day,
                model=item.model,
                ceiling_usd=usd_text(item.ceiling),
                invoice_usd=usd_text(item.cost),
            )
            for item in settling.items
        ],
        not_settled=[NotSettled(why=why, entries=count) for why, count in sorted(settling.left_out.items())],
        applied=question.apply,
        about=about(begins, ends, question.zone.key, [statement.shape, "the ledger's entries and cost lines"], caveats),
    )
    answer, share = printed(shown)
    run = Reconciliation(
        provider, "", now_us, begins, ends, compared.ours, round(compared.theirs), round(compared.unexplained)
    )
    return Reconciled(answer, share, [item.correction for item in settling.items], run)


def _whole_days(statement: Statement, question: ReconcileQuestion) -> tuple[int, int]:
    """Of the file's time, those that are asked for. Raises `BadQuestion`."""
    begins, ends = span_of(statement, question.zone)
    begins = begins if question.since is None else max(begins, day_edge(question.since, question.zone, after=True))
    ends = ends if question.until is None else min(ends, day_edge(question.until, question.zone))
    if begins >= ends:
        raise BadQuestion("the file has no whole day of that time")
    if ends - begins > _MOST_DAYS * DAY_US:
        raise BadQuestion(f"the file is of more than {_MOST_DAYS} days; compare a part of it, with since and until")
    return begins, ends


def _bill_of(provider: str, question: ReconcileQuestion) -> Statement:
    """Raises `BadQuestion` where the file is that of another provider with bills of its own."""
    statement = read_statement(question.text, provider, question.zone)
    if provider in BILLED and statement.of and provider not in statement.of:
        raise BadQuestion(
            f"the file is {statement.shape}, which is no bill of {provider}: name {' or '.join(statement.of)}"
        )
    return statement


def _caveats(
    engine: Engine, book: Book, provider: str, statement: Statement, compared: Comparison, begins: int, ends: int
) -> list[str]:
    """What to know of the figures before they are believed."""
    kept = entries_since(engine)
    caveats = (
        [f"entries before {rfc3339(kept)} are deleted, and in none of our figures"] if kept and kept > begins else []
    )
    if not any(cell.ours for cell in compared.cells.values()):
        caveats += _none_of(engine, book, provider, begins, ends)
    if statement.of and provider not in statement.of:
        caveats.append(f"the file is {statement.shape}, and was compared with calls to {provider}")
    if all(line.usd is None for line in statement.lines):
        caveats.append("the file has no amounts: its quantities are valued at what they cost us")
    if statement.repeated:
        caveats.append(
            f"{statement.repeated} of the file's rows stand in it before, word for word: it may be two exports in one"
        )
    caveats += [f"without a value: {name}" for name in compared.unvalued]
    return caveats


def _none_of(engine: Engine, book: Book, provider: str, since: int, until: int) -> list[str]:
    """A provider that is misspelt has nothing that could differ: all of its file would be "not through us"."""
    rows = spend(engine, ["provider"], since, until)
    called = sorted(
        {book.catalog.canonical(row.group["provider"]) for row in rows if row.requests and row.group["provider"]}
    )
    if not called or provider in called:
        return []
    return [f"no call of that time went to {provider}; calls went to {', '.join(called)}"]


def printed(shown: ReconcileShown) -> tuple[Answer, Fraction]:
    """The answer as it is printed; and what is unexplained, as `Reconciled.share`."""
    whole = abs(Fraction(shown.theirs_usd)) or abs(Fraction(shown.ours_usd or 0))
    share = Fraction(shown.unexplained_usd) / whole if whole else Fraction(0)
    return Answer(shown, _rows(shown.items), _COLUMNS, [*_said(shown, share), *_settled(shown)]), share


def _rows(items: list[ReconcileItem]) -> list[dict[str, str | None]]:
    return [
        item.model_dump(exclude={"causes"}) | {"causes": ", ".join(f"{one.name} {one.usd}" for one in item.causes)}
        for item in items
    ]


def _said(shown: ReconcileShown, share: Fraction) -> list[str]:
    totals = f"Ours {shown.ours_usd}, theirs {shown.theirs_usd}: {shown.difference_usd} USD"
    if shown.ours_usd is None:
        totals = f"Ours is not known, as none of our calls has a price; theirs {shown.theirs_usd} USD"
    causes = "".join(f"; {one.name} {one.usd}" for one in shown.causes)
    left = f"{shown.unexplained_usd} USD unexplained, {float(share * 100):.4f} % of theirs"
    return [f"{totals}{causes}.", f"{left}.", *(f"{caveat[0].upper()}{caveat[1:]}." for caveat in shown.about.caveats)]


def _settled(shown: ReconcileShown) -> Iterator[str]:
    if shown.settled:
        verb = "settled" if shown.applied else "would be settled (--apply does it)"
        difference = sum((Decimal(item.invoice_usd) - Decimal(item.ceiling_usd) for item in shown.settled), Decimal(0))
        yield f"{len(shown.settled)} unconfirmed entries {verb} by the invoice: {usd_text(int(difference * NANO))} USD."
    for left in shown.not_settled:
        yield f"Unconfirmed still: {left.entries}: {left.why}."


def _causes(causes: dict[str, Fraction]) -> list[Cause]:
    return [Cause(name=name, usd=_usd(amount)) for name, amount in causes.items() if round(amount)]


def _usd(nanousd: Fraction) -> str:
    return usd_text(round(nanousd))
