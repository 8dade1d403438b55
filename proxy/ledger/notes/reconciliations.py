"""What comparisons with providers' own exports came to: which time was compared when, and which never was."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from proxy.ids import Ids
from proxy.ledger.database import reading, writing
from proxy.ledger.view_schema import reconciliations

_MOST_FILE_CHARS = 200


class Reconciliation(NamedTuple):
    """file: its name alone. Times are epoch microseconds, [since_at, until_at) is what was compared; amounts are nano-USD."""

    provider: str
    file: str
    ran_at: int
    since_at: int
    until_at: int
    ours_nanousd: int
    theirs_nanousd: int
    unexplained_nanousd: int


def keep_reconciliation(engine: Engine, run: Reconciliation) -> None:
    """In the place of those before it that compared the same provider's same time, or a part of it."""
    table = reconciliations.c
    same = sa.and_(table.provider == run.provider, table.since_at >= run.since_at, table.until_at <= run.until_at)
    name = "".join(character for character in run.file if character.isprintable())[-_MOST_FILE_CHARS:]
    with writing(engine).begin() as connection:
        connection.execute(sa.delete(reconciliations).where(same, table.ran_at <= run.ran_at))
        connection.execute(sa.insert(reconciliations), run._asdict() | {"id": Ids().new(run.ran_at), "file": name})


def reconciliations_of(engine: Engine, since: int, until: int) -> list[Reconciliation]:
    """Those that compared any of the time, the latest first."""
    table = reconciliations.c
    query = sa.select(*[table[name] for name in Reconciliation._fields]).where(
        table.since_at < until, table.until_at > since
    )
    with reading(engine).connect() as connection:
        rows = connection.execute(query.order_by(table.ran_at.desc(), table.id.desc()))
        return [Reconciliation(*row) for row in rows]
