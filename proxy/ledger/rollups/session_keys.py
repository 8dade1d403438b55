"""Which key the calls of a session have, where an earlier version has begun it: looked up in its entries.

Which row a session has: where an earlier version beside this one has put some of its calls under another group, they are added
to the group that the recorder knows, so that there is one row.

The recorder notes the key of a session that it begins, and adds to none whose key is not known: what that had before may have
another. So an old ledger gets its keys afterwards, while calls are recorded; lists look the others up in the entries meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from proxy.ledger.database import reading, writing
from proxy.ledger.rollup_schema import spend_sessions
from proxy.ledger.rollups.sums import session_group
from proxy.ledger.rollups.writing import ENTRY_SUMS, Rolling, named_from
from proxy.ledger.schema import counted, entries

_AT_ONCE = 1000
_MOST_CALLS = 20_000
"""Of one session; what has more stays without, and is looked up."""


def note_keys(engine: Engine) -> bool:
    """The keys of some sessions that have none; False where there are no more such.

    Several instances may do so at once. One whose calls were counted meanwhile waits for the next time.
    """
    table = spend_sessions.c
    some = sa.select(table.group, table.session, table.requests).where(table.key.is_(None))
    with reading(engine).connect() as connection:
        keyless, since = connection.execute(some.order_by(table.group).limit(_AT_ONCE)).all(), named_from(connection)
        groups = {row.group: session_group(row.session, since) for row in keyless}
        rows = [row for row in keyless if groups[row.group] == row.group]
        small = [row.session for row in rows if row.session is not None and row.requests <= _MOST_CALLS]
        key_of = _keys(connection, small)
    values: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: row.group):  # in the order in which the recorder writes them
        key, keyed = key_of.get(row.session, ("", 0))
        values.append({"s_group": row.group, "s_requests": row.requests, "s_key": key, "s_keyed": keyed})
    same = (table.group == sa.bindparam("s_group"), table.requests == sa.bindparam("s_requests"), table.key.is_(None))
    noted: dict[str, Any] = {"key": sa.bindparam("s_key"), "keyed": sa.bindparam("s_keyed")}
    if values:
        with writing(engine).begin() as connection:
            connection.execute(sa.update(spend_sessions).where(*same).values(**noted), values)
    if renamed := {old: new for old, new in groups.items() if old != new}:
        with writing(engine).begin() as connection:
            Rolling(engine.dialect).rename(connection, renamed)
    return len(keyless) == _AT_ONCE


def _keys(connection: Connection, sessions: Sequence[str]) -> dict[str | None, tuple[str, int]]:
    """Of each session the key of most of its requests, and how many have it."""
    key = sa.func.coalesce(entries.c.key, "")
    requests = sa.func.sum(ENTRY_SUMS["requests"])
    of = (entries.c.root_session_id.in_(sessions), counted())
    query = sa.select(entries.c.root_session_id, key, requests).where(*of).group_by(entries.c.root_session_id, key)
    key_of: dict[str | None, tuple[str, int]] = {}
    rows: Sequence[Any] = connection.execute(query.order_by(requests)).all() if sessions else ()
    for session, name, count in rows:
        key_of[session] = name, int(count)
    return key_of
