"""The auditor finds every planted error, and nothing where there is none."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT

from .books import Books, Row, made_up, usd
from .evidence import Evidence, read_metrics, spool_records, unrefused_intents
from .figures import NUMBERS
from .reconcile import Sources, gather
from .verdict import judge

OF_SCENARIOS = {
    "other_failures",
    "unverified",
    "window_spent_twice",
}  # numbers that only a running gateway, or some scenarios, give


def judged(sources: Sources) -> dict[str, Any]:
    """The numbers that must be zero in a clean run and are not."""
    verdict = judge(gather(sources))
    return {name: verdict.numbers[name] for name in verdict.wrong(clean=True)}


def test_perfect_books_have_no_fault_and_every_number_is_judged(tmp_path: Path) -> None:
    sources = replace(made_up(300).write(tmp_path), spool_intents=frozenset(f"attempt-{n}" for n in range(300)))

    verdict = judge(gather(sources))

    assert verdict.wrong(clean=True) == []
    assert set(NUMBERS) - OF_SCENARIOS == set(verdict.numbers)
    assert verdict.numbers["requests"] == verdict.numbers["entries"] == 300
    assert verdict.numbers["invoice_nano"] == verdict.numbers["ledger_nano"] > 0


# Each plant changes perfect books and says what the auditor must then find, exactly.
Plant = Callable[[Books], dict[str, int]]


def lost(books: Books) -> dict[str, int]:
    gone = books.entries.pop(17)
    return {"missing": 1, "blind_missing": 1, "blind_under_nano": gone["cost_nanousd"]}


def doubled(books: Books) -> dict[str, int]:
    books.entries.append(books.entries[17] | {"id": "another"})
    return {"double": 1}


def phantom(books: Books) -> dict[str, int]:
    made = {"id": "dreamt", "request_id": "dreamt", "upstream_request_id": None}
    books.entries.append(books.entries[17] | made)
    return {"phantom": 1}


def void_though_sent(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    cost = entry["cost_nanousd"]
    entry |= {"status": "void", "cost_nanousd": 0, "cost_lines": "[]", "usage_source": "none"}
    _tell_nothing(books, 17)
    return {"false_void": 1, "blind_missing": 1, "blind_under_nano": cost}


def dearer_by_one_nano(books: Books) -> dict[str, int]:
    books.entries[17]["cost_nanousd"] += 1
    _tell_nothing(books, 17)
    return {"price_difference": 1, "line_difference": 1}


def cheaper_by_one_nano(books: Books) -> dict[str, int]:
    books.entries[17]["cost_nanousd"] -= 1
    _tell_nothing(books, 17)
    return {"price_difference": 1, "line_difference": 1, "blind_under_nano": 1}


def reasoning_counted_as_output(books: Books) -> dict[str, int]:
    index, entry = next((i, e) for i, e in enumerate(books.entries) if e["reasoning"] and e["model"] == "tm-plain")
    entry |= {"output": entry["output"] + entry["reasoning"], "reasoning": 0}
    assert books.opens[f"1-{index}"]
    return {"usage_difference": 1}


def a_line_that_does_not_multiply(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    lines = json.loads(entry["cost_lines"])
    lines[0]["quantity"] = str(int(lines[0]["quantity"]) + 1)
    entry["cost_lines"] = json.dumps(lines)
    return {"line_difference": 1}


def refunded_by_a_correction(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    books.correct(entry, -entry["cost_nanousd"] - 5)
    _tell_nothing(books, 17)
    return {"price_difference": 1, "negative": 1, "blind_under_nano": entry["cost_nanousd"] + 5}


def estimated_too_low(books: Books) -> dict[str, int]:
    _interrupt(books, 17)
    books.entries[17]["cost_nanousd"] -= 30
    books.entries[17]["cost_lines"] = "[]"
    return {"under_estimated": 1, "blind_under_nano": 30, "failed": 1}


def estimated_too_high(books: Books) -> dict[str, int]:
    _interrupt(books, 17)
    books.entries[17]["cost_nanousd"] += 30
    books.entries[17]["cost_lines"] = "[]"
    return {"over_estimated": 1, "failed": 1}


def estimated_though_told(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    entry |= {"usage_source": "estimated", "cost_nanousd": entry["cost_nanousd"] + 9, "cost_lines": "[]"}
    _tell_nothing(books, 17)
    return {"price_difference": 1}


def charged_at_the_ceiling(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    entry |= {"status": "unconfirmed", "cost_nanousd": entry["reserved_nanousd"], "cost_lines": "[]"}
    _tell_nothing(books, 17)
    return {"unconfirmed": 1, "over_estimated": 1}


def never_sent_but_charged(books: Books) -> dict[str, int]:
    made = {"id": "x", "request_id": "x", "upstream_request_id": None, "status": "unconfirmed", "outcome": "crashed"}
    books.entries.append(books.entries[17] | made)
    return {"unconfirmed": 1, "unsent": 1}


def above_its_ceiling(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    entry["reserved_nanousd"] = entry["cost_nanousd"] - 1
    return {"above_ceiling": 1}


def without_a_price(books: Books) -> dict[str, int]:
    entry = books.entries[17]
    cost = entry["cost_nanousd"]
    entry |= {"cost_nanousd": None, "cost_lines": "[]"}
    _tell_nothing(books, 17)
    return {"unpriced": 1, "blind_under_nano": cost}


def a_lie_taken_as_truth(books: Books) -> dict[str, int]:
    books.closes["1-17"]["told"] = "lie"
    return {"unflagged_lies": 1}


def two_requests_swapped(books: Books) -> dict[str, int]:
    one, two = books.entries[17], books.entries[18]
    one["request_id"], two["request_id"] = two["request_id"], one["request_id"]
    return {"crossed": 2}


def one_entry_for_two_requests(books: Books) -> dict[str, int]:
    again = {"line": "1-again", "nonce": "n17", "reply_id": "reply-again"}
    books.opens["1-again"] = books.opens["1-17"] | again
    books.closes["1-again"] = books.closes["1-17"] | {"line": "1-again"}
    return {"missing": 1, "blind_missing": 1, "blind_under_nano": books.entries[17]["cost_nanousd"]}


def refused_but_sent(books: Books) -> dict[str, int]:
    books.client[17] |= {"status": 402, "code": "budget_exceeded", "usage": None}
    return {"refused_but_sent": 1, "failed": 1}


def another_cost_told(books: Books) -> dict[str, int]:
    nano = books.entries[17]["cost_nanousd"]
    books.client[17]["headers"]["x-taximeter-cost-usd"] = usd(nano + 1)
    return {"told_cost_difference": 1}


def another_cost_told_in_a_stream(books: Books) -> dict[str, int]:
    books.client[17] |= {"cost_usd": "unknown", "headers": {"x-taximeter-request-id": "request-17"}}
    return {"told_cost_difference": 1}


def told_what_the_ledger_does_not_say(books: Books) -> dict[str, int]:
    _expire(books, 17)
    return {"told_cost_difference": 1, "unconfirmed": 1, "over_estimated": 1}


def corrected_to_another_cost_than_told(books: Books) -> dict[str, int]:
    _expire(books, 17)
    books.correct(books.entries[17], -4999)
    return {"told_cost_difference": 1, "unconfirmed": 1, "over_estimated": 1}


def usage_changed_on_the_way(books: Books) -> dict[str, int]:
    row = next(row for row in books.client if row["usage"])
    row["usage"]["completion_tokens"] += 1
    return {"client_usage_difference": 1}


def usage_withheld(books: Books) -> dict[str, int]:
    row = next(row for row in books.client if row["usage"] and row["stream"])
    row["usage"] = None
    return {"usage_withheld": 1}


def usage_unasked(books: Books) -> dict[str, int]:
    row = next(row for row in books.client if row["stream"] and not row["asked_usage"])
    row["usage"] = {"prompt_tokens": 1}
    return {"usage_unasked": 1}


def answered_from_nowhere(books: Books) -> dict[str, int]:
    books.client.append(books.client[17] | {"nonce": "nowhere", "headers": {}})
    return {"conjured": 1}


def a_virtual_key_upstream(books: Books) -> dict[str, int]:
    cost = books.entries[17]["cost_nanousd"]
    books.opens["1-17"]["key"] = "sk-virtual"
    return {"leaked_keys": 1, "blind_missing": 1, "blind_under_nano": cost}


def not_counted_in_its_team(books: Books) -> dict[str, int]:
    entry = next(entry for entry in books.entries if entry["team"] == "payments")
    counted = [budget for budget in json.loads(entry["budgets"]) if budget[0] != "payments"]
    entry["budgets"] = json.dumps(counted)
    return {"uncounted": 1}


PLANTS: list[Plant] = [
    lost, doubled, phantom, void_though_sent, dearer_by_one_nano, cheaper_by_one_nano,
    reasoning_counted_as_output, a_line_that_does_not_multiply, refunded_by_a_correction, estimated_too_low,
    estimated_too_high, estimated_though_told, charged_at_the_ceiling, never_sent_but_charged, above_its_ceiling, without_a_price,
    a_lie_taken_as_truth, two_requests_swapped, one_entry_for_two_requests, refused_but_sent, another_cost_told,
    another_cost_told_in_a_stream, told_what_the_ledger_does_not_say, corrected_to_another_cost_than_told, usage_changed_on_the_way, usage_withheld, usage_unasked,
    answered_from_nowhere, a_virtual_key_upstream, not_counted_in_its_team,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_error_is_found_exactly(plant: Plant, tmp_path: Path) -> None:
    books = made_up(60)
    expected = plant(books)

    assert judged(books.write(tmp_path)) == expected


def _tell_nothing(books: Books, number: int) -> None:
    """The client of a call was told no cost, so that a planted error stands alone."""
    books.client[number]["headers"].pop("x-taximeter-cost-usd", None)


def _expire(books: Books, number: int) -> int:
    """A call took longer than `max_call_s`: it is charged at its ceiling. How much too much that is."""
    entry = books.entries[number]
    cost: int = entry["cost_nanousd"]
    entry |= {
        "status": "unconfirmed", "outcome": "expired", "cost_nanousd": entry["reserved_nanousd"], "cost_lines": "[]",
        "usage_source": "none", **dict.fromkeys(("input", "cache_read", "output", "reasoning"), 0),
    }  # fmt: skip
    books.client[number]["headers"]["x-taximeter-cost-usd"] = usd(cost)
    return int(entry["reserved_nanousd"]) - cost


def test_a_call_that_expired_and_was_corrected_was_told_its_cost(tmp_path: Path) -> None:
    books = made_up(60)
    too_much = _expire(books, 17)
    books.correct(books.entries[17], -too_much)

    assert judged(books.write(tmp_path)) == {"unconfirmed": 1}


def _interrupt(books: Books, number: int) -> None:
    """A call whose client left: the provider bills it, but has not told its usage."""
    books.closes[f"1-{number}"] |= {"end": "client_left", "told": "nothing"}
    books.entries[number] |= {"outcome": "client_disconnected", "usage_source": "estimated"}
    books.client[number]["end"] = "left"


def test_a_passed_budget_is_found_to_the_nano_dollar(tmp_path: Path) -> None:
    books = made_up(60)
    sources = books.write(tmp_path)
    spent = sum(closed["billed_nano"] for closed in books.closes.values())
    config = json.loads(sources.config.read_text())  # type: ignore[union-attr]
    config["budgets"][0]["limit_usd"] = usd(spent)
    sources.config.write_text(json.dumps(config))  # type: ignore[union-attr]
    assert judged(sources) == {}

    config["budgets"][0]["limit_usd"] = usd(spent - 1)
    sources.config.write_text(json.dumps(config))  # type: ignore[union-attr]

    assert judged(sources) == {"overshoot_nano": 1, "charged_above_limit_nano": 1}


@pytest.mark.parametrize("window", ["minute", "hour", "day", "week", "month"])
def test_a_budget_counts_each_window_of_the_invoice_alone(window: str, tmp_path: Path) -> None:
    books = made_up(2)
    books.opens["1-1"]["at_us"] += 40 * 86_400 * 1_000_000
    sources = books.write(tmp_path)
    dearest = max(closed["billed_nano"] for closed in books.closes.values())
    config = json.loads(sources.config.read_text())  # type: ignore[union-attr]
    config["budgets"] = [{"name": "windowed", "limit_usd": usd(dearest), "window": window}]
    sources.config.write_text(json.dumps(config))  # type: ignore[union-attr]

    verdict = judge(replace(gather(sources), standings=None))

    assert verdict.numbers["overshoot_nano"] == 0
    assert verdict.budgets["windowed"]["most_nano"] == dearest


def test_a_stuck_reservation_and_a_wrong_counter_are_found(tmp_path: Path) -> None:
    books = made_up(60)
    standings = books.standings()
    standings[2]["groups"][1]["reserved_usd"] = "0.000000003"
    standings[0]["groups"][0]["spent_usd"] = usd(1 + sum(e["cost_nanousd"] for e in books.entries))

    assert judged(books.write(tmp_path, standings=standings)) == {"stuck": 1, "store_difference": 1}


def test_a_counter_above_its_limit_is_found(tmp_path: Path) -> None:
    standings = made_up(60).standings()
    standings[0]["groups"][0]["reserved_usd"] = "1000.5"

    found = judged(made_up(60).write(tmp_path, standings=standings))

    spent = sum(entry["cost_nanousd"] for entry in made_up(60).entries)
    assert found == {"stuck": 1, "charged_above_limit_nano": 500_000_000 + spent}


def test_a_group_that_the_store_lost_is_found(tmp_path: Path) -> None:
    books = made_up(60)
    standings = books.standings()
    del standings[2]["groups"][1]

    assert judged(books.write(tmp_path, standings=standings)) == {"store_difference": 1}


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ('taximeter_cost_usd_total{model="x"} 0.000000001', {"metric_cost_difference_nano": 1}),
        ("taximeter_cost_corrections_usd -0.000000002", {"metric_cost_difference_nano": 2}),
        ('taximeter_tokens_total{unit="input"} 3', {"metric_tokens_difference": 3}),
        ("taximeter_requests_total 1 # {a=\"b\"} 1", {"metric_requests_difference": 1}),
        ("taximeter_ledger_dropped_total 4", {"dropped": 4}),
    ],
)  # fmt: skip
def test_metrics_that_disagree_are_found(sample: str, expected: Row, tmp_path: Path) -> None:
    books = made_up(60)

    assert judged(books.write(tmp_path, metrics=books.metrics() + sample + "\n")) == expected


def test_intents_without_an_entry_are_found(tmp_path: Path) -> None:
    intents = frozenset({f"attempt-{number}" for number in range(1, 60)} | {"forgotten"})
    sources = replace(made_up(60).write(tmp_path), spool_intents=intents)

    assert judged(sources) == {"intents_without_entry": 1, "entries_without_intent": 1}


def test_requests_are_joined_without_the_attempt_id_too(tmp_path: Path) -> None:
    """First by what the client was told, then by the provider's own reply id, last by model and time."""
    books = made_up(60)
    for opened in books.opens.values():
        opened["attempt_id"] = None
    assert judged(books.write(tmp_path)) == {}

    del books.client[17]["headers"]["x-taximeter-request-id"]
    assert judged(books.write(tmp_path)) == {}

    books.entries[17] |= {"upstream_request_id": None, "status": "unconfirmed", "outcome": "crashed"}
    assert judged(books.write(tmp_path)) == {"guessed": 1, "unconfirmed": 1}


def test_300_planted_errors_are_300_found(tmp_path: Path) -> None:
    books = made_up(1500, seed=7)
    rng = random.Random(7)
    planted: Counter[str] = Counter()
    for number in sorted(rng.sample(range(1500), 300), reverse=True):
        kind = rng.choice(["missing", "double", "phantom", "price_difference", "usage_difference"])
        planted[kind] += 1
        entry = books.entries[number]
        _tell_nothing(books, number)
        if kind == "missing":
            del books.entries[number]
        elif kind == "double":
            books.entries.append(entry | {"id": f"again-{number}"})
        elif kind == "phantom":
            dreamt = {"id": f"d-{number}", "request_id": f"d-{number}", "upstream_request_id": None}
            books.entries.append(entry | dreamt)
        elif kind == "price_difference":
            entry["cost_nanousd"] += rng.choice([-1, 1])
            entry["cost_lines"] = "[]"
        else:
            entry["input"] += 1

    found = judged(books.write(tmp_path))

    assert {name: found[name] for name in planted} == dict(planted)
    assert set(found) - set(planted) == {"blind_under_nano", "blind_missing"} & set(found)


def test_an_exposition_is_read_as_exactly_as_it_is_written() -> None:
    text = '# HELP a b\na{x="1,\\"}",y="z"} 0.1 # {trace="q"} 1\na 123456789012345678.000000001\n'

    assert read_metrics(text)["a"] == [
        ({"x": '1,\\"}', "y": "z"}, Decimal("0.1")),
        ({}, Decimal("123456789012345678.000000001")),
    ]


def test_a_torn_spool_is_read_to_its_last_whole_frame(tmp_path: Path) -> None:
    frames = b""
    for record in ({"t": "open"}, {"t": "intent", "id": "a"}, {"t": "intent", "id": "b"}, {"t": "refused", "id": "a"}):
        payload = json.dumps(record).encode()
        frames += struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
    (tmp_path / "w.spool").write_bytes(frames + frames[:20])

    assert unrefused_intents(spool_records(tmp_path)) == {"b"}


def test_the_program_exits_1_when_something_is_wrong(tmp_path: Path) -> None:
    books = made_up(30)

    def run() -> subprocess.CompletedProcess[str]:
        sources = books.write(tmp_path)
        command = [sys.executable, "-m", f"{__package__}.reconcile", "--invoice", str(sources.invoice), "--clean"]
        command += ["--client", str(sources.client[0]), "--ledger", str(sources.ledger), "--json", str(tmp_path / "v")]
        command += [
            "--budgets",
            str(sources.budgets),
            "--metrics",
            str(sources.metrics),
            "--config",
            str(sources.config),
        ]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    right = run()
    assert right.returncode == 0, right.stderr
    assert "all numbers that must be zero are zero" in right.stdout

    lost(books)
    wrong = run()

    assert wrong.returncode == 1
    assert "WRONG: blind_missing, blind_under_nano, missing" in wrong.stdout
    assert json.loads((tmp_path / "v").read_text())["numbers"]["missing"] == 1


def test_what_was_not_read_is_not_judged() -> None:
    verdict = judge(Evidence(invoice=[]))

    assert verdict.numbers == {"requests": 0, "invoice_nano": 0}
