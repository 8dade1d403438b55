"""Budgets' counters in Redis, shared by every instance."""
