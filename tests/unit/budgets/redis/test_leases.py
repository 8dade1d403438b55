"""What a lease has free, worked out without Redis; the rest of it is tried in `tests/contract`."""

from __future__ import annotations

from proxy.budgets.redis.leases import Leases
from proxy.types import Claim


def test_what_calls_give_back_is_no_more_than_redis_counts_as_taken_ahead() -> None:
    leases = Leases(longest_s=600)
    claim = Claim("b", "", 0, None, 10_000, 10, "usd", True)

    def tell(free: int) -> None:
        leases.measure()
        report = leases.report(anyhow=True)
        assert report is not None
        leases.note_reply(report, [free])

    for number in range(40):
        leases.grant(f"asked-{number}", [claim], 100.0, 110.0, b"")  # none: there is no lease yet, and so one is wanted
    tell(free=100)
    for number in range(4):
        assert leases.grant(f"{number}", [claim], 100.0, 110.0, b"") is not None
    (lease,) = leases.all()
    assert (lease.free, lease.in_flight) == (60, 40)
    tell(free=100)
    for number in range(4):
        assert leases.end(f"{number}", [1])
    assert (lease.free, lease.in_flight, lease.used) == (100, 0, 4)


def test_a_burst_is_not_waited_out_until_its_time_is_over() -> None:
    """Before a quarter of a second was over, each call asked Redis: a thousand of a load that began."""
    leases = Leases(longest_s=600)
    claim = Claim("b", "", 0, None, 10_000, 10, "usd", True)
    for number in range(4):
        assert leases.grant(f"{number}", [claim], 100.0, 110.0, b"") is None
    assert leases.hurried
    report = leases.report()
    assert report is not None
    assert report.rows[0].wanted == 80
    leases.note_reply(report, [80])
    for number in range(8):
        assert leases.grant(f"more-{number}", [claim], 100.0, 110.0, b"") is not None
    assert not leases.hurried
    assert leases.grant("one too many", [claim], 100.0, 110.0, b"") is None
    assert leases.hurried
    again = leases.report()
    assert again is not None
    assert again.rows[0].wanted == 260


def test_what_a_load_that_begins_has_leased_is_not_given_back_within_the_same_time() -> None:
    """It went back at the next report, and five calls in a quarter of a second asked Redis again and again."""
    leases = Leases(longest_s=600)
    claim = Claim("b", "", 0, None, 10_000, 10, "usd", True)
    for number in range(5):
        leases.grant(f"{number}", [claim], 100.0, 110.0, b"")
    report = leases.report()
    assert report is not None
    leases.note_reply(report, [report.rows[0].wanted])
    leases.measure()
    assert leases.report() is None
    for number in range(5):
        assert leases.grant(f"more-{number}", [claim], 100.0, 110.0, b"") is not None
