"""The view `ledger`: entries as people and Grafana read them."""

from __future__ import annotations


def view_sql(dialect: str) -> str:
    """The view `ledger`: entries with `cost_usd` and `capacity_usd` as exact decimals and times as timestamps."""
    usd = _postgres_usd if dialect == "postgresql" else _sqlite_usd
    if dialect == "postgresql":
        times = "to_timestamp(started_at / 1e6) AS started, to_timestamp(ended_at / 1e6) AS ended"
    else:
        times = (
            "strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1e6, 'unixepoch') AS started,"
            " strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1e6, 'unixepoch') AS ended"
        )
    money = f"{usd('cost_nanousd')} AS cost_usd, {usd('capacity_nanousd')} AS capacity_usd"
    return f"CREATE VIEW ledger AS SELECT {money}, {times}, entries.* FROM entries"  # noqa: S608 - constants


def _postgres_usd(column: str) -> str:
    return f"({column}::numeric / 1000000000)::numeric(30, 9)"


def _sqlite_usd(column: str) -> str:
    return (
        f"CASE WHEN {column} IS NULL THEN NULL ELSE printf('%s%d.%09d', CASE WHEN {column} < 0 THEN '-' ELSE '' END,"
        f" abs({column}) / 1000000000, abs({column}) % 1000000000) END"
    )
