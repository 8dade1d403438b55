"""A day of machines of one's own: 100,000 calls of two instances, in bursts, with an idle night and instances that are killed.

    python -m bench.capacity [--calls 100000] [--minutes 1440] [--database postgresql://…|sqlite:////tmp/day.db]

Without a database a PostgreSQL of its own is started. Shown: that shares + outside + idle are 24 h × the price, to the
nano-dollar; what the split takes of a minute for each call in it; what each entry costs the recorder, with a capacity and
without one, and the closing of minutes. Times are CPU of this program (a database server's own is not in them). A call's own
way has nothing of it: which capacity it is of is looked up by the recorder.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import time
from collections.abc import Iterator, Mapping

from proxy.capacity.runs import Run
from proxy.capacity.split import Span, split
from proxy.control.metrics.series import MetricState
from proxy.ledger.database import open_ledger
from proxy.ledger.recording.batch import Batch
from proxy.ledger.recording.shipping import Positions, Shipper
from proxy.money import usd_text
from proxy.times import MINUTE_US
from tests.support.machines import MORNING, POOL, TERMS, call, finish, simulate, sums
from tests.support.postgres import PostgresServer

_SHIPPED = 20_000


@contextlib.contextmanager
def database(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with PostgresServer() as server, server.emptied_database() as made:
        yield made


def split_us(calls: int) -> float:
    """Microseconds for each call of a minute that has so many."""
    chance = random.Random(calls)
    runs = []
    for number in range(calls):
        start = chance.randrange(MINUTE_US)
        end = start + chance.randrange(1, 8_000_000)
        runs.append(Run(f"{number:06}", start, end, chance.randrange(4000), 0, chance.randrange(900), start + 1))
    began = time.process_time()
    for _ in range(5):
        split(Span(0, MINUTE_US), TERMS.rates, runs)
    return (time.process_time() - began) * 1e6 / calls / 5


def recorder_us(url: str, capacity_of: Mapping[str, str]) -> float:
    """Microseconds for each entry that goes into an empty ledger, a thousand at once."""
    engine = open_ledger(url)
    shipper = Shipper(engine, "i", MetricState.load(engine, "i"), lambda: capacity_of)
    entries = [call(number * 0.5, number * 0.5 + 4) for number in range(_SHIPPED)]
    began = time.process_time()
    for first in range(0, _SHIPPED, 1000):
        shipper.ship(Batch(entries=entries[first : first + 1000]), Positions([], []))
    took = time.process_time() - began
    engine.dispose()
    return took * 1e6 / _SHIPPED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--minutes", type=int, default=1440)
    parser.add_argument("--database")
    asked = parser.parse_args()
    end = MORNING + asked.minutes * MINUTE_US
    with database(asked.database) as url:
        engine = open_ledger(url)
        day = simulate(engine, asked.calls, minutes=asked.minutes)
        finish(engine, end)
        made = sums(engine)
        engine.dispose()
    price = TERMS.rates.cost(MORNING, end)
    together = made["shares_nanousd"] + made["idle_nanousd"] + made["outside_nanousd"]
    print(f"{day.calls} calls in {made['minutes']} minutes, {day.killed} kills; without a share: {made['open']}")
    print(f"shares of calls  ${usd_text(made['shares_nanousd'])} (${usd_text(made['late_nanousd'])} of it late)")
    print(f"idle             ${usd_text(made['idle_nanousd'])}, {made['unobserved_us'] / 1e6:.0f} s of it unobserved")
    print(f"outside          ${usd_text(made['outside_nanousd'])}")
    print(f"hours × price    ${usd_text(price)}")
    print(f"difference       ${(price - together) / 1e9:.9f}")
    for calls in (10, 100, 1000):
        print(f"split, a minute of {calls:>4} calls: {split_us(calls):.1f} µs a call")
    print(
        f"recorder of the day: {day.shipping_s * 1e6 / day.calls:.0f} µs an entry (as many transactions as minutes × instances)"
    )
    print(
        f"closing: {day.closing_s * 1e6 / day.calls:.0f} µs an entry, {day.closing_s * 1e3 / asked.minutes:.1f} ms a minute"
    )
    if asked.database is None:
        with database(None) as url:
            plain = recorder_us(url, {})
        with database(None) as url:
            shared = recorder_us(url, {"gpu": POOL})
        print(f"recorder, 1,000 at once: {plain:.1f} µs an entry without a capacity, {shared:.1f} with one")


if __name__ == "__main__":
    main()
