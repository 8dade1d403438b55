"""Tables of what was spent, added up beforehand: by hour, by day, by seven days, by labels, by session tree.

They are filled in the entries' transaction (`rollups/writing.py`, `rollups/sums.py`), but for those of labels
(`rollups/label_days.py`).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from proxy.ledger.schema import TOKEN_COLUMNS, metadata, of_some_rows

# What was spent, added up beforehand, so that a report need not read every entry: by hour and by day without users and
# customers, of whom there may be as many as calls; with them by day and by seven days; and by session tree. `group` is a
# digest of the names.
SUMS = ("requests", "unpriced_requests", "cost_nanousd", *TOKEN_COLUMNS.values(), "capacity_nanousd")
NAMES = ("provider", "upstream", "agent", "key", "team", "model")
PEOPLE = ("key", "team", "model", "user", "customer")
ALL_NAMES = (*PEOPLE, "provider", "upstream", "agent")


def sums() -> list[Column[int]]:
    """A column for each of `SUMS`."""
    return [
        Column(name, BigInteger, nullable=False, server_default="0" if name == "capacity_nanousd" else None)
        for name in SUMS
    ]


def rollup(name: str, names: tuple[str, ...]) -> Table:
    """start_at: where the hour, the day or the seven days begin, counted from the epoch in UTC."""
    return Table(
        name,
        metadata,
        Column("start_at", BigInteger, primary_key=True),
        Column("group", Text, primary_key=True),
        *[Column(one, Text) for one in names],
        *sums(),
        sqlite_with_rowid=False,  # rows lie in the order of their times, and are read so
    )


spend_hours = rollup("spend_hours", NAMES)
spend_days = rollup("spend_days", NAMES)
spend_people_days = rollup("spend_people_days", PEOPLE)
spend_people_weeks = rollup("spend_people_weeks", PEOPLE)

# By everything that calls are told apart by, a day at a time, of days that are over (`rollups/label_days.py`). labels: those of
# the day's `names` that it has, as JSON. The last three columns: where the day is added up `whole`.
spend_label_days = rollup("spend_label_days", (*PEOPLE, "labels"))
for _name in ALL_NAMES[len(PEOPLE) :]:
    spend_label_days.append_column(Column(_name, Text))


def added_up(name: str) -> Table:
    """What the stretches of a time came to when they were added up. changes: how often the entries of a stretch have changed.
    built: the number when they were added up by the labels `names` (JSON), with what it came to then; without `names` never.
    whole: `names` and `built` again, of a version that adds up by all of `ALL_NAMES`."""
    return Table(
        name,
        metadata,
        Column("start_at", BigInteger, primary_key=True),
        Column("changes", BigInteger, nullable=False),
        Column("built", BigInteger, nullable=False),
        Column("names", Text),
        Column("requests", BigInteger, nullable=False),
        Column("cost_nanousd", BigInteger, nullable=False),
        Column("whole", Text),
        sqlite_with_rowid=False,
    )


label_days = added_up("label_days")

# group: of a session whose name is an id of a time from `session_names.since_at` on, the name itself, so that new ones lie
# behind each other; of all others a digest of the name, which scatters them.
# first_at, last_at: when the session's first and latest calls began; ended_at: when one of them ended last. key: of its first
# call that was counted, "" for none, and `keyed`: how many of its requests have it. NULL: not known, as of sessions that an
# earlier version has begun; where fewer are `keyed` than there are requests, the others may have any.
_KEYLESS = Index("spend_sessions_keyless", "group")
of_some_rows(_KEYLESS, "key IS NULL")
# Those of a day and more, of which there are few. Of what reaches beyond a moment the others lie within a day of it. In halves,
# for a damaged record's times may lie further apart than 64 bits can say.
LONG_SESSION = "last_at / 2 - first_at / 2 >= 43199999999"
_LONG = Index("spend_sessions_long", "last_at")
of_some_rows(_LONG, LONG_SESSION)
spend_sessions = Table(
    "spend_sessions",
    metadata,
    Column("group", Text, primary_key=True),
    Column("session", Text),
    Column("team", Text),
    *sums(),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("key", Text),
    Column("keyed", BigInteger, nullable=False, server_default="0"),
    Index("spend_sessions_last_at", "last_at"),
    Index("spend_sessions_ended_at", "ended_at"),
    _KEYLESS,
    _LONG,
)

# From when on sessions have their names for a key. One row; none: never (an earlier version's ledger that is being migrated).
session_names = Table(
    "session_names",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("since_at", BigInteger, nullable=False),
)

# Units without a column, of every roll-up: so many 10^-scale of the unit. Decimals add up exactly as integers of one scale.
spend_units = Table(
    "spend_units",
    metadata,
    Column("rollup", Text, primary_key=True),
    Column("start_at", BigInteger, primary_key=True),
    Column("group", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("scale", Integer, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
