"""What a data plane that comes back is told of repricings."""

from __future__ import annotations

from proxy.control.charges import Charges

NOW = 1_795_392_000.0


def test_what_was_charged_lately_is_told_in_its_order_and_forgotten_in_time() -> None:
    charges = Charges()
    charges.note([["a", []], ["b", []]], NOW)
    charges.note([["c", []]], NOW + 400)

    assert charges.lately(NOW + 600) == [["a", []], ["b", []], ["c", []]]
    assert charges.lately(NOW + 601) == [["c", []]]
    assert charges.lately(NOW + 5000) == []
