"""The ledger's own audit: entries, totals, counters, the spool."""
