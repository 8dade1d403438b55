"""The office's day (`day.py`) as a month: each day of November 2026 has its share of the calls, from customers with plans."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from proxy.ledger.entries.entry import Entry
from tests.support.day import history
from tests.support.made_up import INSTANCE

DAY_US = 86_400_000_000
START = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1_000_000
END = START + 30 * DAY_US
CUSTOMERS = {"acme": "pro", "globex": "pro", "initech": "free", "umbrella": None}
_ONE_OF = 60


@cache
def november() -> list[Entry]:
    """About fifty calls a day; every day others of the office's. In the second half of the month two thirds of them more."""
    office = list(history(START, [], INSTANCE))
    made = []
    for day in range(30):
        names = list(CUSTOMERS)
        one_of = _ONE_OF if day < 15 else _ONE_OF * 3 // 5
        for number, entry in enumerate(office[day::one_of]):
            row = entry.row
            customer = names[number * number % len(names)] if number % 3 else names[0]
            plan = CUSTOMERS[customer]
            moved = row.started_at % DAY_US + START + day * DAY_US - row.started_at
            made.append(entry.with_row(row._replace(
                id=f"{row.id}-{day}", request_id=f"{row.request_id}-{day}", customer=customer,
                started_at=row.started_at + moved, ended_at=row.ended_at + moved,
                labels=f'{{"plan":"{plan}"}}' if plan else "{}",
            )))  # fmt: skip
    return made
