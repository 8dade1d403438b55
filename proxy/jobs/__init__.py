"""Jobs: what is billed when it ends, not when it is asked for. Their states, and each API's table of routes.

A job is a call like any other (an owner, a ceiling, a reservation, one settlement, one entry) whose end comes later than its
answer. Here is what is pure of it: the job as a value (`job.py`), what becomes of it (`machine.py`), what an API has to say of
itself (`api.py`), and a file for each API (`apis/`). Sending, asking and settling: `proxy/exchange/jobs`, `proxy/dataplane`.
"""
