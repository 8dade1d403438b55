"""Machines that cost by the hour, whatever they do: what they cost, and whose calls that was. Pure: time, samples and calls are
arguments. When minutes are closed and written down: `control/capacity/keeper.py`, `ledger/capacity/books.py`.
"""
