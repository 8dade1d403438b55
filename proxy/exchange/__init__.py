"""One call, from its key to its settlement: `run` reads like the list of its steps."""
