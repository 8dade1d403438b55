"""Attacks on one exchange stand on the house of the flow tests."""

from tests.flow.conftest import build

__all__ = ["build"]
