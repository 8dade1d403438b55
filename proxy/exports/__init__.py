"""Exports: entries of the ledger on their way to billing systems, telemetry and files, at least once each.

Owns what an entry is called elsewhere, how it is sent, and what is done where it is not taken. How far each sink is stands in
the ledger (`proxy.ledger.beside.export_log`). Runs in the control process, in threads of its own, and is asked by no call.
"""
