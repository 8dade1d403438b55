"""FOCUS rows as a Parquet file: amounts as exact decimals, times as instants of UTC. Needs the extra `taximeter[parquet]`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from proxy.reports.focus.columns import DECIMALS, TIMES

_DIGITS, _AFTER_THE_POINT = 38, 17  # as many as the format has; 10 of a price times 6 of a quantity of millions fit


class NoParquet(Exception):  # noqa: N818 - told to whoever wants such a file
    """What is missing, or what does not fit."""


def write_parquet(out: Path, some: Iterable[Sequence[Mapping[str, Any]]], columns: Sequence[str]) -> None:
    """some: rows, some at a time; each becomes a group of rows. Raises `NoParquet`, OSError."""
    try:
        import pyarrow  # noqa: PLC0415 - an extra of 150 MB, for this alone
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError:
        raise NoParquet("Parquet needs pyarrow: pip install 'taximeter[parquet]', or write FILE.csv") from None
    decimal, instant = pyarrow.decimal128(_DIGITS, _AFTER_THE_POINT), pyarrow.timestamp("us", tz="UTC")
    kinds = {name: decimal if name in DECIMALS else instant if name in TIMES else pyarrow.string() for name in columns}
    with parquet.ParquetWriter(out, pyarrow.schema(kinds.items())) as writer:
        for rows in some:
            if not rows:
                continue
            arrays = []
            try:
                for name, kind in kinds.items():
                    arrays.append(pyarrow.array([_cell(name, row.get(name)) for row in rows], kind))
            except pyarrow.ArrowInvalid as error:
                raise NoParquet(
                    f"{name} has a number that no column of Parquet holds exactly: {error}; write FILE.csv"
                ) from None
            writer.write_table(pyarrow.table(arrays, names=list(columns)))


def _cell(name: str, value: str | None) -> Any:
    if value is None:
        return None
    if name in DECIMALS:
        return Decimal(value)
    return datetime.fromisoformat(value) if name in TIMES else value
