"""Rows of one statement are what they are one by one, whatever they have in common."""

from __future__ import annotations

import sqlite3
from typing import Any

from proxy.ledger.together import TOGETHER, Layout


def test_rows_come_out_as_they_went_in() -> None:
    count = 2 * TOGETHER
    names = [f"n{at}" for at in range(count)]
    columns: list[list[Any]] = [names, [*names], list(range(count)), [None] * (count - 1) + ["x"], list(range(count))]
    layout = Layout.of((5, 6), (0, 1, 2, 3, 4), columns)
    assert layout.equal == (0, 0, 2, 3, 2)
    bound = layout.bound(columns, ["same", 7])
    assert [len(each) for each in bound] == [3 * TOGETHER + 2] * 2
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT, c INT, d TEXT, e INT, f TEXT, g INT, h INT DEFAULT 3)"
    )
    insert = layout.insert("t", list("abcdefgh"), "ON CONFLICT (a) DO UPDATE SET c = t.c + excluded.c")
    database.executemany(insert, bound)
    expected = [(*row, "same", 7, 3) for row in zip(*columns, strict=True)]
    assert sorted(database.execute("SELECT * FROM t")) == sorted(expected)
    database.executemany(insert, bound)
    assert [row[0] for row in database.execute("SELECT c FROM t ORDER BY rowid")] == [2 * at for at in range(count)]
    database.close()
