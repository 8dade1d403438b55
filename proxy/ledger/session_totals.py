"""What each tree of sessions has come to: one row a tree, kept with the entries in one transaction.

Ten calls make one row, so that a million calls are listed by session as fast as a page is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from sqlalchemy.engine import Engine

from proxy.budgets.budget import MOST_GROUP_CHARS, bounded
from proxy.ledger.entries import Entry
from proxy.ledger.schema import TOKEN_COLUMNS
from proxy.ledger.sound import Row

_TOKENS = tuple(TOKEN_COLUMNS.values())
_tokens_of = itemgetter(*_TOKENS)
_SUMS = ("requests", "unpriced_requests", "cost_nanousd", *_TOKENS)
_COLUMNS = ("session", "team", "key", "client", "source", "started_at", "last_started_at", "ended_at", *_SUMS)


def totals_of(inserted: Iterable[Entry]) -> list[tuple[Any, ...]]:
    """What new entries add to their trees: rows of `add_sql`, in one order, so that no two writers wait for each other.

    Void attempts add nothing; a correction adds its cost and no request.
    """
    trees: dict[str, list[Row]] = {}
    for entry in inserted:
        row = entry.row
        session = row["root_session_id"]
        if session is None or row["status"] == "void":
            continue
        if len(session) > MOST_GROUP_CHARS or not session.isprintable():
            session = bounded(session)
        if session in trees:
            trees[session].append(row)
        else:
            trees[session] = [row]
    return [_total(session, trees[session]) for session in sorted(trees)]


def _total(session: str, rows: list[Row]) -> tuple[Any, ...]:
    (one, *others), starts, ends, requests, unpriced, nanousd = rows, [], [], 0, 0, 0
    for row in rows:
        starts.append(row["started_at"])
        ends.append(row["ended_at"])
        cost = row["cost_nanousd"]
        nanousd += cost or 0
        if row["kind"] == "attempt":
            requests += 1
            unpriced += cost is None
    tokens = _tokens_of(one) if not others else tuple(map(sum, zip(*map(_tokens_of, rows), strict=True)))
    whose = [_plain(one[name]) for name in ("team", "key", "client", "session_source")]
    span = (min(starts), max(starts), max(ends))
    return (session, *whose, *span, requests, unpriced, nanousd, *tokens)


def _plain(text: str | None) -> str | None:
    return text if text is None or text.isprintable() else bounded(text)


def add_sql(engine: Engine) -> str:
    """INSERT, or add to the row that is there: whose session it is and who began it stay as they were. For the driver."""
    on_postgresql = engine.dialect.name == "postgresql"
    mark, least, most = ("%s", "least", "greatest") if on_postgresql else ("?", "min", "max")

    def joined(function: str, name: str) -> str:
        return f"{name} = {function}(session_totals.{name}, excluded.{name})"

    changes = [f"{name} = session_totals.{name} + excluded.{name}" for name in _SUMS]
    changes += [joined(least, "started_at"), joined(most, "last_started_at"), joined(most, "ended_at")]
    names = ", ".join(engine.dialect.identifier_preparer.quote(name) for name in _COLUMNS)
    return (
        f"INSERT INTO session_totals ({names}) VALUES ({', '.join([mark] * len(_COLUMNS))}) "  # noqa: S608 - our own names
        f"ON CONFLICT (session) DO UPDATE SET {', '.join(changes)}"
    )
