"""Many days of entries in PostgreSQL: each month's table is filled before it has indexes, and takes its place when it is whole.

A row costs a tenth so of what an INSERT into a table with indexes does, and no log where `wal_level` is `minimal`. Tables, indexes
and bounds are those that the product made: it is asked for the months first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from bench.many_entries import START, moved_day
from proxy.ids import first_id
from proxy.ledger import partitions, schema
from proxy.ledger.partitions import Partition
from proxy.times import DAY_US

_DAY = "bench_day"  # the first day's entries, aside


def fill_months(engine: Engine, days: int, at_once: int = 2) -> None:
    """Entries of all days from those of the first one, which are there."""
    begun = time.perf_counter()
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE TABLE {_DAY} AS SELECT * FROM entries ORDER BY id"))
        months = [month for month in partitions.partitions(connection) if month.since is not None]
        indexes = _indexes(connection, months[0].name)
        for month in months:
            connection.execute(sa.text(f"DROP TABLE {month.name}"))
    with ThreadPoolExecutor(at_once) as pool:
        for done, count in enumerate(pool.map(partial(_fill, engine, days, months[0].name, indexes), months), 1):
            took = time.perf_counter() - begun
            print(
                f"\r{done} of {len(months)} months after {took:.0f} s, the latest of {count:,} entries",
                end="",
                flush=True,
            )
    print()
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE {_DAY}"))


def _fill(engine: Engine, days: int, first: str, indexes: Sequence[str], month: Partition) -> int:
    """The month's table anew, in one transaction; how many entries it has. indexes: as the month `first` had them."""
    numbers = [
        number for number in range(days) if (month.since or "") <= first_id(START + number * DAY_US) < month.until
    ]
    metadata = sa.MetaData()
    source, target = (schema.entries.to_metadata(metadata, name=name) for name in (_DAY, month.name))
    with engine.begin() as connection:
        bounds = f"id >= '{month.since}' AND id < '{month.until}'"
        connection.execute(
            sa.text(f"CREATE TABLE {month.name} (LIKE entries INCLUDING DEFAULTS, CONSTRAINT span CHECK ({bounds}))")
        )
        count = 0
        for number in numbers:
            inserted = moved_day(source, target, number, "postgresql").execution_options(preserve_rowcount=True)
            count += connection.execute(inserted).rowcount
        connection.execute(sa.text(f"ALTER TABLE {month.name} ADD PRIMARY KEY (id)"))
        for index in indexes:
            connection.execute(sa.text(index.replace(first, month.name)))
        values = f"FOR VALUES FROM ('{month.since}') TO ('{month.until}')"
        connection.execute(sa.text(f"ALTER TABLE entries ATTACH PARTITION {month.name} {values}"))
        connection.execute(sa.text(f"ALTER TABLE {month.name} DROP CONSTRAINT span"))
    return count


def _indexes(connection: Connection, table: str) -> list[str]:
    """Statements that make its indexes, but for the primary key's."""
    query = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass(:table) AND NOT indisprimary"
    return list(connection.execute(sa.text(query), {"table": table}).scalars())
