"""`taximeter serve`: the supervisor, and the embedded model."""
