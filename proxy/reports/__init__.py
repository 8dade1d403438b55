"""What the ledger says, a question a file or folder: rows out, for the API, the command line and the page."""
