"""The record of every call on disk, until the ledger has it."""
