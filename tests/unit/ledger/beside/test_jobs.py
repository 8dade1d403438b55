"""Jobs in the ledger: one entry each, `running` until its end, which counts once whoever writes it and however often."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from proxy.ids import correction_id
from proxy.ledger.audit.verify import verify
from proxy.ledger.beside.jobs import find_jobs, running_jobs, states, take_due
from proxy.ledger.schema import jobs
from proxy.spool.writer import SpoolWriter
from tests.support.spooled import AT, Ledger, append, intent, settle


@pytest.fixture
def writer(ledger: Ledger) -> SpoolWriter:
    return SpoolWriter(ledger.folder, "w")


LINES = {"unit": "video_second", "quantity": "1", "per": 1, "model": None, "source": None}


def job_of(one: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": one["id"], "api": "openai.videos", "digest": f"d-{one['id']}", "provider_id": "video_1", "created_at": AT,
        "deadline_at": AT + 10_000_000, "asked": {}, "attributes": {}, "intent": dict(one), "flags": [], "state": "running",
        "ended": False, "revision": 0, "cost_nanousd": None, "settled": [],
    } | fields  # fmt: skip


def begun(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"t": "job", "id": one["id"], "at": AT + 1, "job": job_of(one)}


def ended(one: Mapping[str, Any], cost: int, **fields: Any) -> dict[str, Any]:
    usd = f"{cost / 10**9:.9f}"
    lines = [LINES | {"price_usd": usd, "cost_usd": usd}] if cost else []
    return settle(one, cost, usage={}, cost_lines=lines, job=job_of(one, **fields))


def expired(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"t": "expired", "id": one["id"], "at": AT + 20, "epoch": "", "intent": dict(one)}


def state(ledger: Ledger) -> Mapping[str, Any]:
    with ledger.engine.connect() as connection:
        (row,) = connection.execute(sa.select(jobs)).mappings().all()
    return row


def sound(ledger: Ledger, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    for old in scratch.iterdir():
        old.unlink()
    url = ledger.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    report = verify(url, scratch, ledger.folder)
    assert report.difference is None or report.difference.where.startswith("metric"), report.difference


def test_a_job_is_one_entry_that_runs_and_then_is_settled(ledger: Ledger, writer: SpoolWriter, tmp_path: Path) -> None:
    one = intent()
    append(writer, one, begun(one))
    ledger.ship()
    (row,) = ledger.rows()
    assert (row["status"], row["cost_nanousd"], row["budgets"], ledger.spent()) == ("running", None, None, 0)
    assert [job["id"] for job in running_jobs(ledger.engine)] == [one["id"]]
    sound(ledger, tmp_path)
    append(writer, ended(one, 700))
    ledger.ship()
    (row,) = ledger.rows()
    assert (row["status"], row["cost_nanousd"], ledger.spent()) == ("settled", 700, 700)
    assert (state(ledger)["state"], state(ledger)["revision"], running_jobs(ledger.engine)) == ("settled", 1, [])
    sound(ledger, tmp_path)


def test_an_end_that_two_have_seen_counts_once(ledger: Ledger, writer: SpoolWriter, tmp_path: Path) -> None:
    other, one = SpoolWriter(ledger.folder, "v"), intent()
    append(writer, one, begun(one), ended(one, 700))
    append(other, ended(one, 700))
    append(other, ended(one, 800))  # another that was made from the same revision
    ledger.ship()
    ledger.start()
    ledger.ship()
    assert [row["cost_nanousd"] for row in ledger.rows()] == [700]
    assert ledger.spent() == 700
    sound(ledger, tmp_path)


def test_an_end_that_is_shipped_before_its_beginning(ledger: Ledger, tmp_path: Path) -> None:
    """Another worker saw it, whose spool is read first."""
    first, second, one = SpoolWriter(ledger.folder, "a"), SpoolWriter(ledger.folder, "b"), intent()
    append(first, ended(one, 700))
    append(second, one, begun(one))
    ledger.ship()
    assert [(row["status"], row["cost_nanousd"]) for row in ledger.rows()] == [("settled", 700)]
    assert (state(ledger)["state"], ledger.spent()) == ("settled", 700)
    sound(ledger, tmp_path)


def test_past_its_deadline_it_is_charged_whole_and_corrected_when_it_ends(
    ledger: Ledger, writer: SpoolWriter, tmp_path: Path
) -> None:
    one = intent()
    append(writer, one, begun(one), expired(one))
    ledger.ship()
    (row,) = ledger.rows()
    assert (row["status"], row["outcome"], row["cost_nanousd"]) == ("unconfirmed", "expired", 1000)
    assert (state(ledger)["state"], state(ledger)["ended"]) == ("unconfirmed", False)
    assert take_due(ledger.engine, AT + 100_000_000, 10, 60) != []
    append(writer, ended(one, 700))
    ledger.ship()
    assert sorted((row["kind"], row["cost_nanousd"]) for row in ledger.rows()) == [
        ("attempt", 1000),
        ("correction", -300),
    ]
    assert (state(ledger)["state"], state(ledger)["cost_nanousd"], ledger.spent()) == ("settled", 700, 700)
    sound(ledger, tmp_path)


def test_what_a_provider_changes_later_is_a_correction_each_time(
    ledger: Ledger, writer: SpoolWriter, tmp_path: Path
) -> None:
    one = intent()
    append(writer, one, begun(one), ended(one, 700), ended(one, 0, revision=1), ended(one, 0, revision=1))
    append(writer, ended(one, 700, revision=2), ended(one, 100, revision=3))
    ledger.ship()
    assert sorted(row["cost_nanousd"] for row in ledger.rows()) == [-700, -600, 700, 700]
    assert {row["id"] for row in ledger.rows()} >= {correction_id(one["id"], number) for number in (1, 2, 3)}
    assert (state(ledger)["cost_nanousd"], state(ledger)["revision"], ledger.spent()) == (100, 4, 100)
    sound(ledger, tmp_path)


def test_an_end_that_says_nothing_is_charged_at_the_ceiling_and_asked_for_no_more(
    ledger: Ledger, writer: SpoolWriter
) -> None:
    one = intent()
    append(writer, one, begun(one), ended(one, 1000) | {"status": "unconfirmed", "cost_lines": None})
    ledger.ship()
    assert [(row["status"], row["cost_nanousd"]) for row in ledger.rows()] == [("unconfirmed", 1000)]
    assert (state(ledger)["ended"], take_due(ledger.engine, AT + 10**12, 10, 60)) == (True, [])


def test_who_asks_whether_a_bill_has_changed_and_dies_is_followed_by_another(
    ledger: Ledger, writer: SpoolWriter
) -> None:
    """A refund is looked for until the provider has answered."""
    one = intent()
    append(writer, one, begun(one), ended(one, 700) | {"job": job_of(one, recheck_s=2) | {"recheck_s": 2}})
    ledger.ship()
    at = AT + 100_000_000
    for _ in range(2):
        assert [job["id"] for job in take_due(ledger.engine, at, 10, 60)] == [one["id"]]
        assert take_due(ledger.engine, at + 59_000_000, 10, 60) == []
        at += 60_000_000
    assert take_due(ledger.engine, at, 10, 60, [one["id"]]) == []
    assert take_due(ledger.engine, at + 10**10, 10, 60) == []


def test_a_job_is_handed_to_one_process_at_a_time(ledger: Ledger, writer: SpoolWriter) -> None:
    several = [intent() for _ in range(5)]
    for one in several:
        append(writer, one, begun(one))
    ledger.ship()
    at = AT + 1_000_000
    taken = [job["id"] for _ in range(3) for job in take_due(ledger.engine, at, 2, 60)]
    assert sorted(taken) == sorted(one["id"] for one in several)
    assert take_due(ledger.engine, at + 59_000_000, 10, 60) == []
    assert len(take_due(ledger.engine, at + 60_000_000, 10, 60)) == 5


def test_a_crash_charges_no_job_that_runs(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one, begun(one))
    writer.close()
    ledger.ship()
    assert [row["status"] for row in ledger.rows()] == ["running"]


def test_what_is_known_of_a_job_is_found_by_its_owner(ledger: Ledger, writer: SpoolWriter) -> None:
    one = intent()
    append(writer, one, begun(one), ended(one, 700))
    ledger.ship()
    (job,) = find_jobs(ledger.engine, [f"d-{one['id']}", "d-unknown"])
    assert (job["state"], job["revision"], job["settled"], job["intent"]["team"]) == ("settled", 1, [700], "t")
    with ledger.engine.connect() as connection:
        assert states(connection, AT)["settled"] == 1


def test_a_difference_between_a_job_and_its_entries_is_found(
    ledger: Ledger, writer: SpoolWriter, tmp_path: Path
) -> None:
    one = intent()
    append(writer, one, begun(one), ended(one, 700))
    ledger.ship()
    with ledger.engine.begin() as connection:
        connection.execute(sa.update(jobs).values(cost_nanousd=1))
    with pytest.raises(AssertionError, match="its entries come to 700"):
        sound(ledger, tmp_path)
    assert orjson.loads(state(ledger)["settled"]) == [["b", "", 0, "usd", 700]]


def test_that_its_owner_has_withdrawn_it_whoever_asks_for_a_job_knows(ledger: Ledger, writer: SpoolWriter) -> None:
    """The worker that was told may be another one than the next to ask, or dead."""
    one, other = intent(), intent()
    append(writer, one, begun(one), other, begun(other))
    ledger.ship()
    taken = take_due(ledger.engine, AT + 100_000_000, 10, 60, withdrawn=[one["id"], "not-there-yet"])
    assert {job["id"]: job.get("withdrawn", False) for job in taken} == {one["id"]: True, other["id"]: False}
    assert [job["withdrawn"] for job in find_jobs(ledger.engine, [f"d-{one['id']}"])] == [True]
