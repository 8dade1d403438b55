"""The most that a call can cost, and how that bound is drawn closer."""
