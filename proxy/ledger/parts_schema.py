"""Tables of sums over three hours, seven days and calendar months, by all attributes of calls and by how their costs are known.

Three hours are for the ends of a time that is asked for, and for the day that is not over; seven days and months for long
times. They are filled by `rollups/label_days.py` and `rollups/label_weeks.py`.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text

from proxy.ledger.rollup_schema import ALL_NAMES, added_up, rollup
from proxy.ledger.schema import metadata

IMPERSONAL = tuple(name for name in ALL_NAMES if name not in ("user", "customer"))
"""Most questions of labels ask for no persons, of whom there may be as many as calls."""

label_parts = added_up("label_parts")
label_parts.append_column(Column("persons", Text))  # as `whole`, of a version that knows `person_calls`; or `TOO_MANY`
TOO_MANY = "too many"
# After how many changes, and with which labels, `rare_calls` was filled.
label_parts.append_column(Column("listed", Text))

# Whose calls lie in the three hours: the ids of a user's or a customer's entries, joined by commas in their order, so that a
# list of them reads nobody else's. person: of a digest of (name, value), so that it is short; who else has the same is told
# apart by the entries.
person_calls = Table(
    "person_calls",
    metadata,
    Column("start_at", BigInteger, primary_key=True),
    Column("person", BigInteger, primary_key=True),
    Column("ids", Text, nullable=False),
    sqlite_with_rowid=False,
)

# The same of what few calls of the three hours have: of a name (of `listed_calls.NAMES`, or a label that is added up by) and a
# value or none. "": many calls have it. What is not there has none.
rare_calls = Table(
    "rare_calls",
    metadata,
    Column("start_at", BigInteger, primary_key=True),
    Column("value", BigInteger, primary_key=True),
    Column("ids", Text, nullable=False),
    sqlite_with_rowid=False,
)

spend_label_parts = rollup("spend_label_parts", (*ALL_NAMES, "labels"))
spend_impersonal_days = rollup("spend_impersonal_days", (*IMPERSONAL, "labels"))
spend_impersonal_parts = rollup("spend_impersonal_parts", (*IMPERSONAL, "labels"))

# What the days of seven, and of a calendar month of UTC, were added up to: `built`, `requests` and `cost_nanousd` are sums of
# theirs, `changes` is not counted.
label_weeks = added_up("label_weeks")
spend_label_weeks = rollup("spend_label_weeks", (*ALL_NAMES, "labels"))
spend_impersonal_weeks = rollup("spend_impersonal_weeks", (*IMPERSONAL, "labels"))
label_months = added_up("label_months")
spend_label_months = rollup("spend_label_months", (*ALL_NAMES, "labels"))
spend_impersonal_months = rollup("spend_impersonal_months", (*IMPERSONAL, "labels"))

# status and usage_source as in `entries`, "" for none; calls, and what those of them cost that have a price.
spend_part_sources = Table(
    "spend_part_sources",
    metadata,
    Column("start_at", BigInteger, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("usage_source", Text, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("unpriced_requests", BigInteger, nullable=False),
    Column("cost_nanousd", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
