"""What the ledger says, a question a file: rows out, for the API, the command line and the page."""
