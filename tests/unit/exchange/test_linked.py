"""Which values of a call the garbage collector looks at."""

from __future__ import annotations

from typing import Any

import pytest

from pricing.values import Linked
from proxy.exchange.attempt import Attempt
from proxy.exchange.exchange import Exchange


@pytest.mark.parametrize("kind", [Exchange, Attempt])
def test_what_its_call_can_be_reached_from_is_looked_at(kind: type[Any]) -> None:
    """Both have its client, whose connection has the task that runs it: a ring, until the call is over."""
    assert issubclass(kind, Linked)
