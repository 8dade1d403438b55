"""Readers are found by what a call is to, which may hold an id: however many there are, few are kept."""

from __future__ import annotations

from proxy.bounded_table import BoundedTable
from proxy.exchange import plane
from proxy.meters.reader import Reader


def test_readers_of_stored_responses_are_not_kept_for_ever() -> None:
    made = plane.Plane.__new__(plane.Plane)
    made.readers = BoundedTable[tuple[str, str, str], Reader](plane._MAX_READERS)
    first = made.reader("openai.responses", "openai", "/v1/responses/resp_0")
    assert made.reader("openai.responses", "openai", "/v1/responses/resp_0") is first
    for number in range(3 * plane._MAX_READERS):
        made.reader("openai.responses", "openai", f"/v1/responses/resp_{number}")
    assert len(made.readers) == plane._MAX_READERS
