"""The view `ledger`: entries as people and Grafana read them."""

from __future__ import annotations


def view_sql(dialect: str) -> str:
    """The view `ledger`: entries with `cost_usd` as an exact decimal and times as timestamps."""
    if dialect == "postgresql":
        cost = "(cost_nanousd::numeric / 1000000000)::numeric(30, 9)"
        times = "to_timestamp(started_at / 1e6) AS started, to_timestamp(ended_at / 1e6) AS ended"
    else:
        cost = (
            "CASE WHEN cost_nanousd IS NULL THEN NULL ELSE printf('%s%d.%09d', CASE WHEN cost_nanousd < 0 THEN '-' ELSE '' END,"
            " abs(cost_nanousd) / 1000000000, abs(cost_nanousd) % 1000000000) END"
        )
        times = (
            "strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1e6, 'unixepoch') AS started,"
            " strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1e6, 'unixepoch') AS ended"
        )
    return f"CREATE VIEW ledger AS SELECT {cost} AS cost_usd, {times}, entries.* FROM entries"  # noqa: S608 - constants
