"""The typed row and the table say the same."""

from __future__ import annotations

from typing import get_args, get_type_hints

import sqlalchemy as sa

from proxy.ledger.entries.row import Row, json_text, row_of
from proxy.ledger.schema import entries

_HELD = {sa.Text: str, sa.BigInteger: int, sa.Integer: int, sa.Boolean: bool, sa.Double: float}


def test_a_row_has_the_tables_columns_in_their_order_and_of_their_types() -> None:
    hints = get_type_hints(Row)
    assert list(Row._fields) == [column.name for column in entries.columns]
    for column in entries.columns:
        held = set(get_args(hints[column.name])) or {hints[column.name]}
        assert held == {_HELD[type(column.type)], *([type(None)] if column.nullable else [])}, column.name


def test_what_a_mapping_does_not_name_is_none() -> None:
    row = row_of({"id": "1", "cost_nanousd": 3, "of another version": 4})
    assert (row.id, row.cost_nanousd, row.model, len(row)) == ("1", 3, None, len(Row._fields))


def test_what_is_empty_is_no_json() -> None:
    assert [json_text(value) for value in ({}, [], None, {"a": 1})] == [None, None, None, '{"a":1}']
