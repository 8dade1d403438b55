"""The translator: a process of its own that speaks providers' own APIs for callers of another dialect.

Owns: LiteLLM (imported in `adapter.py` alone, and in no other process), what of a call is passed on to it, how its answers
look in the caller's dialect, and reading the provider's usage from the provider's own bytes. Does not own: keys, prices,
budgets, records; to the data plane it is an upstream like any other, on a unix socket.
"""
