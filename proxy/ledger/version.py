"""Which schema this code expects. By itself, for who asks a ledger without SQLAlchemy (`planes/first_look.py`)."""

HEAD = "0024"  # the newest migration; tests compare it with the newest file
