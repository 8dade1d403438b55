"""Bugs put into a copy of the product, one at a time, each of which the tests that are named for it must catch.

    python -m tests.torture.seeded [NAME …]

A bug is a text of the product and what stands in its place. Where the text is not there any more, the bug is to be
planted anew: that is an error, as is a bug that no test notices.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("pricing", "proxy", "tests", "machine_code.py", "pyproject.toml")
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Bug:
    """In `file`, `old` becomes `new`. One of `tests` (pytest's names) must fail with it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _bug(name: str, file: str, old: str, new: str, *tests: str) -> Bug:
    return Bug(name, file, old, new, tests)


_FLOW = "tests/flow/"
_EXCHANGE = f"{_FLOW}test_exchange.py"
_HANGUPS = f"{_FLOW}test_hangups.py"
_BROKEN = f"{_FLOW}test_broken_streams.py"
_SPOOL = "tests/unit/spool/test_writer.py"
_RECORDER = "tests/unit/ledger/recording/test_recorder.py"
_FAIL_OVER = "tests/unit/ledger/recording/test_fail_over.py"
_STORE = "tests/contract/test_store.py"
_LEASES = "tests/contract/test_leases_model.py"
_FIRST_EPOCH = "tests/unit/control/test_first_epoch.py"
_LEASES_BY_EXAMPLE = "tests/contract/test_leases.py"

BUGS: tuple[Bug, ...] = (
    # calls that end and are not charged, or are charged twice
    _bug("a cancelled call costs nothing", "proxy/exchange/answer.py",
         '        response.abort()\n        await way.settle_unknown("cut")\n',
         '        response.abort()\n        await attempt.void("cut")\n',
         f"{_HANGUPS}::test_a_call_that_is_cancelled_in_the_middle_of_its_stream_is_charged_its_ceiling"),
    _bug("a time-out after sending costs nothing", "proxy/exchange/forward.py", "        elif error.sent:\n", "        elif False:\n",
         f"{_EXCHANGE}::test_what_was_surely_not_sent_costs_nothing_and_the_rest_its_ceiling"),
    _bug("what cannot be recorded is sent all the same", "proxy/upstream/outbox.py",
         "if record is not None and record.lost:", "if False:", f"{_FLOW}test_full_disk.py"),
    _bug("requests go out before their records", "proxy/upstream/outbox.py", "            keep(records)\n", "            pass\n",
         f"{_FLOW}test_full_disk.py"),
    _bug("what cannot be recorded keeps its reservation", "proxy/exchange/attempt.py",
         "            await self.exchange.plane.store.release(self.id)\n        return ledger_unavailable()", "            pass\n        return ledger_unavailable()",
         f"{_FLOW}test_full_disk.py"),
    _bug("an INTENT is written once more behind its end", "proxy/spool/pending.py", "        if not (record.kept or record.lost):\n", "        if True:\n",
         "tests/unit/spool/test_pending.py"),
    _bug("attempts of one call share an id", "proxy/exchange/plan.py", "attempt_id, deadline_at = plane.ids.new(started_at)", "attempt_id, deadline_at = exchange.request_id",
         f"{_FLOW}test_retries.py"),
    _bug("an unknown price is no reason to refuse", "proxy/exchange/plan.py",
         'if not (facts.priced or call.free) and configured.config.on_unpriced == "refuse":', "if False:",
         f"{_EXCHANGE}::test_an_unpriced_model_is_refused_by_default"),
    _bug("a broken stream costs what it had said by then", "proxy/exchange/usage_watch.py",
         "self.final = self.final or self._form.is_final(event)", "self.final = True", _HANGUPS, _BROKEN),
    _bug("a placeholder is taken for a count", "proxy/meters/anthropic.py",
         'state.get("usage", {}).pop("output_tokens", None)', "pass", _BROKEN),
    _bug("no output is believed whatever is seen", "proxy/exchange/doubt.py",
         "return not outputs and shows_output(pieces)", "return False", _BROKEN),
    _bug("what is beyond possible is charged", "proxy/exchange/estimated.py",
         'if "implausible" in reading.flags or', "if False and", _BROKEN),
    _bug("cumulative usage is added up", "proxy/meters/reader.py",
         "return before if old is not None and new is not None and old > new else value",
         "return old + new if old is not None and new is not None else value", "tests/unit/meters/test_fixtures.py"),
    # clients that leave
    _bug("a drain has no bound in bytes", "proxy/exchange/drain.py", "if self._bytes > MAX_BYTES:", "if False:", _HANGUPS),
    _bug("a drain has no bound in time", "proxy/exchange/drain.py", "call_later(MAX_S,", "call_later(1e6,", _HANGUPS),
    _bug("any number is drained at once", "proxy/exchange/drain.py", "if self._drains.take(self._holder) != \"granted\":", "if self._drains.take(self._holder) == \"never\":", _HANGUPS),
    _bug("an upstream that would stop is not told", "proxy/exchange/stream.py",
         "if self._left and self.stops_when_left:", "if False:", _HANGUPS),
    _bug("who leaves before the head is not noticed", "proxy/exchange/forward.py",
         "stops = not destination.bills_after_disconnect", "stops = False", _HANGUPS),
    _bug("usage of each choice is taken for all", "proxy/dialects/openai.py", "call.sequences > 1", "call.sequences > 9",
         _HANGUPS),
    _bug("what we break off passes for whole", "proxy/upstream/connection.py",
         '        self._fail("reset", "the answer was broken off here")', "        self.close()",
         f"{_FLOW}test_upstream.py"),
    # streams
    _bug("half of an event is passed on", "proxy/exchange/gate.py", "if _is_torn(rest):", "if False:", _BROKEN),
    _bug("the usage chunk that nobody asked for is passed on", "proxy/exchange/gate.py",
         '        if self._strip_usage and event.get("choices") == []:\n            return b""\n', "", "tests/unit/exchange/test_gate.py"),
    _bug("whatever stands between what events have in common is a text", "proxy/exchange/alike.py",
         r'''"text": rb'[^"\\\r\n]*(?:\\["\\/bfnrtu][^"\\\r\n]*)*',''', r'''"text": rb'[^\n]*',''',
         "tests/unit/exchange/test_kept_stream.py"),
    _bug("a chunk is taken for whole by its head alone", "proxy/upstream/connection.py",
         "if rest is not data and body is not rest:", "if rest is not data:",
         "tests/unit/upstream/test_connection.py"),
    _bug("a blank line that is cut in two is not found", "proxy/wire/sse.py",
         "self._scanned = max(0, len(buffer) - 3)", "self._scanned = len(buffer)",
         "tests/unit/wire/test_sse.py", "tests/torture/test_fuzz_sse.py"),
    # budgets
    _bug("what is reserved does not count", "proxy/budgets/memory.py",
         "room = limit - counter.spent - counter.reserved", "room = limit - counter.spent",
         f"{_STORE}::test_reserves_up_to_the_limit_and_no_further"),
    _bug("a reservation is never given back", "proxy/budgets/memory.py",
         "            counter.reserved -= held[index]\n", "", _STORE),
    _bug("an expired reservation is given back", "proxy/budgets/memory.py",
         "self._end(reservation, reservation.amounts)", "self._end(reservation, None)", _STORE),
    _bug("a late settlement is lost", "proxy/budgets/memory.py",
         "return self._correct(reservation_id, amounts)", "return None", _STORE),
    _bug("only the first cap counts", "proxy/ceilings/ceiling.py", "max(call.output_caps)", "call.output_caps[0]",
         _EXCHANGE),
    _bug("money is rounded down", "pricing/money.py", "return round(usd * _NANO)", "return int(usd * _NANO)",
         "tests/unit/pricing"),
    _bug("reservations are rounded down", "pricing/money.py", "return -(-amount // _FINE)",
         "return int(amount // _FINE)", "tests/unit/pricing"),
    # leases: two halves of one account, with messages lost between them
    _bug("what was granted while a report was under way is forgotten", "proxy/budgets/redis/leases.py",
         "lease.free += free - row.kept", "lease.free = free", _LEASES),
    _bug("a report is told again under another number", "proxy/budgets/redis/leases.py",
         "        if self._report is not None:\n            return self._report\n        self.hurried",
         "        if self._report is not None:\n            self._report = self._report._replace(number=self._number)\n"
         "            self._number += 1\n            return self._report\n        self.hurried", _LEASES),
    _bug("a report that got no answer is forgotten", "proxy/budgets/redis/leases.py",
         "        if self._report is not None:\n            return self._report\n        self.hurried", "        self.hurried", _LEASES),
    _bug("Redis counts a report twice", "proxy/budgets/redis/lua/lease.lua",
         "if number <= lease.number then return lease.answer end\n", "", _LEASES),
    _bug("a dead run's reports are taken when its spool was read", "proxy/budgets/redis/lua/unlease.lua",
         "  lease.over = true\n", "", _LEASES),
    _bug("ends that a report has told are charged again", "proxy/budgets/redis/store.py",
         "if end.report > int(answer[1]) and end.epoch == epoch:", "if end.epoch == epoch:", _LEASES),
    _bug("ends that no report has told are forgotten", "proxy/budgets/redis/store.py",
         "if end.report > int(answer[1]) and", "if end.report > int(answer[1]) + 1 and", _LEASES),
    _bug("what others have reserved is room for leases", "proxy/budgets/redis/lua/lease.lua",
         "limit - spent - (reserved - held) - flying", "limit - spent - flying", _LEASES),
    _bug("what was told is told again", "proxy/budgets/redis/leases.py", "                lease.used = 0\n", "", _LEASES),
    _bug("what is granted out of a lease stays free", "proxy/budgets/redis/leases.py",
         "            lease.free -= amount\n", "", _LEASES),
    _bug("what is granted out of a lease is not in flight", "proxy/budgets/redis/leases.py",
         "            lease.in_flight += amount\n", "", _LEASES),
    _bug("what was used of a lease is free again", "proxy/budgets/redis/leases.py",
         "free, given = lease.free + amount - used, lease.given", "free, given = lease.free + amount, lease.free + amount", _LEASES),
    _bug("what comes back of ended calls is free beyond the share", "proxy/budgets/redis/leases.py",
         "            if free > given:", "            if free > free:",
         "tests/unit/budgets/redis/test_leases.py"),
    _bug("an end out of a lease bears the number of the report before", "proxy/budgets/redis/leases.py",
         "return self._number if reservation_id in self._in_flight", "return self.reported if reservation_id in self._in_flight", _LEASES),
    _bug("a report keeps for itself what it says it gives back", "proxy/budgets/redis/leases.py",
         "lease.free = 0 if lease.short else max(0, min(lease.free, lease.wanted))\n"
         "                lease.given = lease.free\n"
         "                rows.append(Row(lease.claim, lease.used, lease.in_flight, lease.free, lease.wanted))",
         "kept = 0 if lease.short else max(0, min(lease.free, lease.wanted))\n"
         "                rows.append(Row(lease.claim, lease.used, lease.in_flight, kept, lease.wanted))", _LEASES),
    _bug("leases outlive what Redis forgot", "proxy/budgets/redis/leases.py",
         "        self._leases.clear()\n        self._leaving", "        self._leaving", _LEASES),
    _bug("a report to an epoch that is over goes to the next", "proxy/budgets/redis/leases.py",
         "        self._report = None\n        self._unreported = self._reporting = 0\n",
         "        self._unreported = self._reporting = 0\n", _LEASES),
    _bug("what was in flight is not restored", "proxy/budgets/redis/leased.py",
         "        self.member.before_epoch = self._lose_leases\n", "        self.member.before_epoch = lambda: None\n", _LEASES),
    _bug("a call that left its lease is still in flight there", "proxy/budgets/redis/leases.py",
         "            self._leaving[reservation_id] = self._number\n            for lease, claim in zip(call.leases, call.claims, strict=True):\n"
         "                lease.in_flight -= claim.amount\n", "            self._leaving[reservation_id] = self._number\n", _LEASES),
    _bug("a call that leaves its lease is settled before Redis has it", "proxy/budgets/redis/member.py",
         "        self._unrestored[reservation_id] = None\n", "", _LEASES),
    _bug("a slice is forgotten while a report tells of it", "proxy/budgets/redis/leases.py",
         "            if lease.idle and self._report is None:\n", "            if lease.calls < 1 and not lease.wanted:\n", _LEASES),
    _bug("more ends are told of than a recorder remembers", "proxy/budgets/redis/leases.py",
         "enough = [], untold < MOST_UNREPORTED and deadline_s", "enough = [], deadline_s", _LEASES),
    _bug("ends that are not told do not count as such", "proxy/budgets/redis/leases.py",
         "untold = len(self._in_flight) + self._unreported + self._reporting", "untold = len(self._in_flight) + self._reporting", _LEASES),
    _bug("a call may be longer than its lease", "proxy/budgets/redis/leases.py",
         "untold < MOST_UNREPORTED and deadline_s - now_s <= self._longest_s", "untold < MOST_UNREPORTED", _LEASES),
    _bug("a lease that expired and is heard of stays charged", "proxy/budgets/redis/lua/lease.lua",
         "if lease.expired then revive(lease) end\n", "", _LEASES),
    _bug("a lease that is heard of again is so for ever", "proxy/budgets/redis/lua/common.lua",
         "  lease.expired = nil\n", "", _LEASES),
    _bug("what other leases have free is no bound", "proxy/budgets/redis/lua/lease.lua",
         "math.floor(limit * share) - others_free)", "math.floor(limit * share))", _LEASES),
    _bug("leases may have any share of a limit", "proxy/budgets/redis/lua/lease.lua",
         "math.floor(room / ROOM_PART), math.floor(limit * share) - others_free)", "math.floor(room / ROOM_PART))", _LEASES),
    _bug("Redis takes back what a lease had kept", "proxy/budgets/redis/lua/lease.lua",
         "  free = math.max(free, kept)\n", "", _LEASES),
    _bug("what is in flight is not reserved", "proxy/budgets/redis/lua/lease.lua",
         "change('r:', bucket, group, flying + free - held)", "change('r:', bucket, group, free - held)", _LEASES),
    _bug("a report does not say the number of its own", "proxy/budgets/redis/lua/lease.lua",
         "lease.number, lease.answer = number, answer", "lease.answer = answer", _LEASES),
    _bug("a dead run's lease is given back twice", "proxy/budgets/redis/lua/unlease.lua",
         "lease.held, lease.free = {}, {}\n", "", _LEASES),
    _bug("a dead run's lease stays charged", "proxy/budgets/redis/lua/unlease.lua",
         "if lease.expired then revive(lease) end\n", "", _LEASES),
    _bug("what a dead run had free is never free again", "proxy/budgets/redis/lua/unlease.lua",
         "  change('f:', bucket, group, -tonumber(lease.free[counter_name] or '0'))\n", "", _LEASES),
    _bug("a lease that is full never expires", "proxy/budgets/redis/lua/common.lua",
         "    redis.call('ZADD', base .. 'leases', string.format('%.6f', deadline), name)\n", "", _LEASES_BY_EXAMPLE),
    _bug("leases go on to the end of a window", "proxy/budgets/redis/leases.py",
         "end is not None and now_s >= end - _NEAR_END_S", "False", _LEASES_BY_EXAMPLE),
    _bug("nothing is left, and what costs nothing is granted", "proxy/budgets/redis/leases.py",
         "lease.free < amount or lease.free < 1:", "lease.free < amount:", _LEASES_BY_EXAMPLE),
    _bug("a first epoch opens before every data plane has joined it", "proxy/control/first_epoch.py",
         "return len(begun) == workers and set(joined).issuperset(begun)", "return True", _FIRST_EPOCH),
    _bug("calls count by definitions that Redis does not have yet", "proxy/control/first_epoch.py",
         'state == "open" and all(one.is_done or one.is_counted for one in seedings)', 'state == "open"', _FIRST_EPOCH),
    _bug("the last that a worker records is not waited for", "proxy/dataplane/process.py",
         "        await plane.store.close()\n", "        linked.cancel()\n        await plane.store.close()\n", "tests/unit/dataplane/test_ending.py"),
    # the spool and the recorder
    _bug("damage is read as a record", "proxy/spool/frames.py", "if (sums := list(map(zlib.crc32, payloads))) != stated:",
         "if (sums := stated) != stated:", _SPOOL),
    _bug("an end that the full disk refuses is dropped", "proxy/spool/writer.py",
         "        self._owed.append(payload)\n        self.write_owed()\n",
         "        self._owed.append(payload)\n        self.write_owed()\n        self._owed.clear()\n", _SPOOL),
    _bug("answers go out before their records", "proxy/upstream/outbox.py", "            for act in acts:\n                act()\n", "",
         f"{_FLOW}test_cycle.py"),
    _bug("of what does not fit nothing is written", "proxy/spool/writer.py", "if len(some) == 1:", "if some:", _SPOOL),
    _bug("half a record stays where the disk was full", "proxy/spool/writer.py", "            self._cut(self._size)\n", "",
         f"{_SPOOL}::test_a_record_that_was_refused_is_not_there"),
    _bug("a segment is seen before it is begun", "proxy/spool/writer.py",
         'begun = segment.with_suffix(".begun")', "begun = segment", _SPOOL),
    _bug("a run is seen before its lock is held", "proxy/spool/writer.py",
         'begun = lock.with_suffix(".lock-begun")', "begun = lock",
         f"{_SPOOL}::test_a_run_that_begins_is_over_at_no_moment"),
    _bug("what is not synced yet is read", "proxy/spool/reader.py",
         "            self._synced = noted(fd)\n", "", "tests/unit/spool/test_synced.py"),
    _bug("who has reported ships on before the epoch is open", "proxy/control/rebuilding.py",
         'seen.state == "open" or seen.epoch != self._still_in', "True", "tests/unit/control/test_rebuilding.py"),
    _bug("an epoch opens with sums from before somebody came", "proxy/budgets/redis/lua/open.lua",
         "if not known[name] then", "if false then", "tests/unit/control/test_rebuilding.py"),
    _bug("where to read on is asked of any copy", "proxy/ledger/recording/shipping.py",
         "            self._check(connection)\n            return", "            return",
         f"{_FAIL_OVER}::test_where_to_read_on_is_asked_of_the_copy_that_is_written"),
    _bug("open intents of a crash are forgotten", "proxy/ledger/recording/recorder.py",
         "            run.pairing.crashed(batch, now_us())\n", "",
         f"{_RECORDER}::test_a_crashed_writers_open_intents_are_charged_at_their_ceiling"),
    _bug("budgets count what was there already", "proxy/ledger/recording/shipping.py",
         "self._write_budgets(connection, inserted)", "self._write_budgets(connection, batch.entries)", _RECORDER),
    _bug("metrics count what was there already", "proxy/ledger/recording/shipping.py",
         "observed.observe_entries(inserted)", "observed.observe_entries(batch.entries)",
         _RECORDER),
    _bug("a commit without an answer is made again", "proxy/ledger/recording/shipping.py",
         "self._last_number(connection) == self._in_doubt[0]:", "False:", _RECORDER),
    _bug("an older copy of the ledger is gone on with", "proxy/ledger/recording/shipping.py",
         "            raise LedgerMovedError(last", "            print(last", "tests/unit/ledger/recording/test_fail_over.py"),
    _bug("what stands before a marker counts as committed when it is read", "proxy/ledger/recording/recorder.py",
         "                    run.marker = epoch\n", "                    run.marker = run.held_at = epoch\n",
         "tests/unit/ledger/planes/test_gate.py"),
    _bug("damage is not told", "proxy/ledger/recording/recorder.py", "if run.reader.damaged_bytes > damaged:", "if False:", _RECORDER),
)  # fmt: skip


class SeedError(Exception):
    """The runner could not do its work."""


def plant(bug: Bug, root: Path) -> None:
    """Put a bug into the tree at `root`. Raises SeedError where its text does not stand there exactly once."""
    file = root / bug.file
    text = file.read_text()
    if text.count(bug.old) != 1:
        raise SeedError(f"{bug.name}: its text stands {text.count(bug.old)} times in {bug.file}")
    file.write_text(text.replace(bug.old, bug.new))


def _copy(to: Path) -> None:
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to / name)


def _pytest(root: Path, tests: Iterable[str], timeout_s: float = _TIMEOUT_S, *, must_pass: bool = False) -> int:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        "--timeout",
        "60",
        *tests,
    ]
    env = os.environ | {"PYTHONPATH": str(root)}
    if not must_pass:  # what is compiled is the tree without bugs: that of one is never found behind another's
        env["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        ran = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return 1  # it hangs: that is seen too
    if ran.returncode not in (0, 1) or (ran.returncode and must_pass):
        raise SeedError(f"pytest ended with {ran.returncode}: {ran.stdout[-3000:]}{ran.stderr[-2000:]}")
    return ran.returncode


def caught(bug: Bug, root: Path) -> bool:
    """Whether a test fails with the bug in the copy at `root`, which is as it was afterwards."""
    file = root / bug.file
    before = file.read_text()
    plant(bug, root)
    try:
        return _pytest(root, bug.tests) == 1
    finally:
        file.write_text(before)


def run(bugs: Iterable[Bug]) -> list[str]:
    """The names of those that nobody notices. Raises SeedError, also where the tests fail without any bug."""
    bugs = list(bugs)
    with tempfile.TemporaryDirectory(prefix="seeded-") as name:
        root = Path(name)
        try:
            return _run(bugs, root)
        finally:  # it may lie elsewhere
            shutil.rmtree(Path(importlib.util.cache_from_source(str(root / "all"))).parent, ignore_errors=True)


def _run(bugs: list[Bug], root: Path) -> list[str]:
    _copy(root)
    tests = sorted({test for bug in bugs for test in bug.tests})
    _pytest(root, tests, 5 * _TIMEOUT_S, must_pass=True)
    missed = []
    for bug in bugs:
        found = caught(bug, root)
        print(f"{'caught' if found else 'MISSED'}  {bug.name}", flush=True)
        missed += [] if found else [bug.name]
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(prog="seeded", description=(__doc__ or "").partition("\n")[0])
    names = [bug.name for bug in BUGS]
    parser.add_argument("bug", nargs="*", choices=[*names, []], help="default: all")
    wanted = parser.parse_args().bug or names
    missed = run(bug for bug in BUGS if bug.name in wanted)
    print(f"{len(wanted) - len(missed)} of {len(wanted)} caught")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
